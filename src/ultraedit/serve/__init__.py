"""A model that is taught while it answers: one process, one model, two threads at work.

One thread answers (`generation`), the other edits (`turns`), and they share no tensor that changes:
each turn is published as a new `versions.Version`. `engine` has both behind a queue, `app` puts
them on the network, and `studio` has the same verbs for Python.
"""
