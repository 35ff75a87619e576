"""Any timm model, any torchvision classifier, any Python function, with weights said explicitly."""
