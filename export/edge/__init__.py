"""`.tflite` files for phones and small computers: conversion, quantization, tolerances, and the files beside them."""
