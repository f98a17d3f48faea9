"""The checks of the project: linters, test suites, and labs made and removed to be tested."""
