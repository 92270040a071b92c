"""Other runtimes that our files go to: what they do with a net, and a form of it that they compute right.

child       one file run by one runtime, in a process of its own
running     that process started, bounded in time and its report read; which runtimes there are
compare     outputs of a runtime beside those of our net
facts       the table facts.tsv: what runtimes are known to compute otherwise, ignore or not take
place       a layer where it stands; conditions, conditions_of_windows, conditions_of_onnx: which facts concern it
report      facts in the report of a check
rewriting   a net in a form that a runtime computes right; forms: what is written for a layer
"""
