"""People's poses from the pixels of a video."""

from motionseek.indexer.pose.estimate import ESTIMATORS, estimate_pose, load_estimator, look

__all__ = ["ESTIMATORS", "estimate_pose", "load_estimator", "look"]
