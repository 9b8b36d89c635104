//! What is wrong with an input, gathered so that one message shows it all.
