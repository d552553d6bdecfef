"""tfgen.inference"""
