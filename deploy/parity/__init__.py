"""Does a deployment compute what the PyTorch module computes?"""
