"""Model repositories of other servers than TF Serving: Triton, OpenVINO Model Server, KServe."""
