"""A sweep's winner, handed over: weights, preprocessing, labels and a card, in one folder.

    model.safetensors         the weights: the very file of the ledger's trial, where that is whole
    raybench.json             what ``raybench.load`` reads: ``settings.ModelSettings``
    labels.json               label names in the order of the outputs
    preprocessor_config.json  resize and normalisation, as Hugging Face's image processors have it
    config.json               for ``timm.create_model('local-dir:...')``, where timm owns the model
    model.onnx                with ``--onnx``
    README.md                 the model card

Nothing in it is a pickle.
"""
