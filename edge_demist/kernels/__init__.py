"""Numba sources of everything that is compiled: encoder, LoRA, attention, tokenizer, n-grams.

Nothing here runs on a sensor.  ``tools/kernels/build.py`` compiles these modules ahead of time into
``edge_demist/native/lib/*.so``; ``edge_demist.engines.jit`` compiles the same sources for the host.  All of it needs
Numba, so the default install never imports this package.

``simd``       16-lane values and raw memory for Numba
``vectors``    exp2, GELU, quantisation and layer norm, each in one written order of operations
``linear``     int8 matrix products with fused epilogues, LoRA included
``attention``  softmax attention over the packed rows
``encoder``    embedding, layers, pooling: the exported ``encode``
``tokenizer``  SentencePiece unigram Viterbi
``ngrams``     hashed character n-grams
``isa_*``      the int8 micro-kernels, the only code that differs between CPU levels
``compiler``   Numba IR + micro-kernel -> one optimised LLVM module
"""
