"""Whether a run was good, and who is told how: people, programs, JUnit, GitHub. Begin with `verdict`."""
