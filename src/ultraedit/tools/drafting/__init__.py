"""Facts drafted from a document or rephrased by a language model."""
