"""Annotate many pictures with one model: what is asked, filtered, written in shards, refined and converted.

It follows the data engine of the paper on Florence-2: texts, regions with texts, and phrases of the texts with regions.
"""
