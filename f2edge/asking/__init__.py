"""How a model is asked: questions, the workers that answer them, streams of objects, batches, and answers that stop."""
