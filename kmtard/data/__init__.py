"""Data sets in memory and the tf.data pipelines that feed them to any backend."""
