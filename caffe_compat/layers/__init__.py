"""Caffe's layer types, each imported when it is first asked for, and what a layer's author imports: the frame.

    base            Layer, and Elementwise: one whose top has the shape of its bottom
    registry        Caffe type name -> class
    table           types.tsv: where each type is, and what is known of it without importing it
    fields          fields that need more than an attribute to read
    windows         kernel, stride, pad and dilation; output sizes
    fillers         weight fillers
    draws           where random numbers come from
    labels          class labels, checked
    loss            LossLayer, DifferenceLoss, normalizers
    source          SourceLayer: one that makes its own tops
    stored          StoredLayer: from files
    shapes_only     ShapesOnly: one that does not run
    regions         RegionLayer: one that pools regions
    function        operations with a gradient of their own, for torch.func too
    kinks           functions with a kink, and Caffe's gradient there
    boxes           boxes: codes, overlaps, suppression
    sampling        values between pixels
    layout          how activations lie in memory
    lanes           convolutions with fewer wasted vector lanes
    compiled        convolutions for inference by a compiled loop
    handed          gradients that a sum leaves with the maker of its bottom
    looped          where compiled loops compute what a layer has
    packed          layers fused and their weights packed, for inference
    parts           an inner product whose weight gradient may be handed over in parts
    resident        a set of images that stays on a device
    python_modules  where the modules of Python layers are
    numpy_blob      blobs as Python layers see them: arrays of NumPy

The types are in two packages:

    caffe           the types of Caffe 1.0 and the two of the paper's fork, a module a family
    forks           the types of other forks, a package a family; nothing in `caffe` imports from it
"""
