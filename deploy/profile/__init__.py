"""Profiles deployments side by side: operations, latency, and the routes of networks with gates.

It composes deploy/measure and deploy/routing. candidates.py decides what is measured, profile.py measures it.
"""
