"""Made-up days of a sensor with known intrusions: what the shared days do not have (:mod:`tools.days.__main__`)."""
