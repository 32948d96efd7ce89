"""What the numbers mean that a program consists of."""

WORDS = 12
"""Of a stage."""
SYNAPSES, NEURON, POOL, SCALE, ADD, SUBTRACT, MULTIPLY, REORDER = range(8)
"""Kinds of stages. Their words are the kind, the value read, another one, the one written, its size; then

- SYNAPSES: addresses of sizes, of the tables of window.py, of weights and bias; the number of the layer;
- NEURON: address of the words of its row function; how many; how many are memories; the place of the first of
  these in the memory of a sample; address of the function;
- POOL: addresses of sizes, rows and columns, see pooling.py;
- SCALE: addresses of factors, and of what is added;
- REORDER, which writes channels first: channels and pixels."""
SETTINGS = 14
SAMPLES, STEPS, STAGES, CONSTANT, ACROSS, INPUTS, VALUES, OUTPUT, OUTPUTS, MEMORIES = range(10)
MOST_INPUTS, MOST_PIXELS, MOST_WORDS, LAYERS = range(10, SETTINGS)
"""Places of the settings of a run: samples and time steps; stages, and how many of the first ones can be left
out after the first step; numbers from one step of the input to the next, of an input of one sample, and of
the memory of a thread; number and size of the output; numbers of the memory of a sample; the most inputs,
pixels and words of a stage; layers with weights."""
