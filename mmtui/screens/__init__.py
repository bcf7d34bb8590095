"""The screens: the library, the workbench, the help, and a list to choose from."""
