"""Report a run to people, programs, JUnit readers and GitHub; `proxy/verdict` judges it. Begin with `ending`."""
