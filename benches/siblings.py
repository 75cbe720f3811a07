"""Loads one benchmark from another: their files have no ending."""

import importlib.machinery
import importlib.util
import pathlib


def sibling(name):
    path = pathlib.Path(__file__).resolve().parent / name
    loader = importlib.machinery.SourceFileLoader(name, str(path))
    module = importlib.util.module_from_spec(importlib.util.spec_from_loader(name, loader))
    loader.exec_module(module)
    return module
