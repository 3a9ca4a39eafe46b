"""What `motionseek demo` does."""

from motionseek.demo.run import DemoResult, run

__all__ = ["DemoResult", "run"]
