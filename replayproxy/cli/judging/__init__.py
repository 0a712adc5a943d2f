"""Judge a run, and report it to people, programs, JUnit readers and GitHub. Begin with `verdict`."""
