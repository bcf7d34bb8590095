"""mmtui: a terminal sandbox for the accounting rules of Linux memory management.

The application (screens, widgets, command line) lives here; the engine is the
package `sandbox`, which knows no screen.
"""

__all__ = ["__version__"]

# The one place where the version stands: the build reads it from here, and
# reading it costs no look-up of package metadata at start-up.
__version__ = "0.1.0"
