//! The plugin author's commands: build, inspect.
