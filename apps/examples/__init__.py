"""Parts of tfgen in other people's programs: `python -m apps.examples.NAME`.

Each is a function of about forty lines on data that scikit-learn carries in its package. It prints
the number that shows that it works, and returns what the tests look at.
"""
