"""Chaos with real processes: a fleet behind cuttable links, seeded faults, and a verdict on what came of it."""
