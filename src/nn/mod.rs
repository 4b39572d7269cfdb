//! Recurrent networks: cells and the functions that unroll them, with the nodes and names of TensorFlow's `rnn.py` and
//! `legacy_cells.py`.

mod basic_lstm;
mod basic_rnn;
mod bidirectional;
mod cell;
mod dynamic_rnn;
mod gru;
pub(crate) mod layer;
mod lstm;
mod multi;
mod nested;
mod seed;
mod sizes;
mod static_rnn;
mod step;
mod wrappers;

pub use basic_lstm::BasicLSTMCell;
pub use basic_rnn::BasicRNNCell;
pub use bidirectional::{Bidirectional, BidirectionalOptions};
pub use cell::{Activation, RNNCell};
pub use dynamic_rnn::RnnOptions;
pub use gru::GRUCell;
pub use lstm::LSTMCell;
pub use multi::MultiRNNCell;
pub use nested::{LSTMStateTuple, Nested, State};
pub use static_rnn::StaticRnnOptions;
pub use wrappers::{DeviceWrapper, DropoutWrapper, DropoutWrapperOptions, ResidualWrapper};
