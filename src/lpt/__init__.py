"""Turn captioned images into long visual thoughts that a vision-language model can be trained on."""
