//! Recurrent networks.

use crate::check;
use metagraph::nn::{
    Activation, BasicLSTMCell, BasicRNNCell, BidirectionalOptions, DeviceWrapper, DropoutWrapper, DropoutWrapperOptions, GRUCell,
    LSTMCell, LSTMStateTuple, MultiRNNCell, ResidualWrapper, RnnOptions, StaticRnnOptions,
};
use metagraph::train::Initializer;
use metagraph::{DType, Shape};

fn float() -> RnnOptions {
    RnnOptions { dtype: Some(DType::Float), ..RnnOptions::default() }
}

#[test]
fn lstm_time_major() {
    check("lstm_time_major", |g| {
        let x = g.named("x").placeholder(DType::Float, [None, Some(1), Some(3)])?;
        let init = g.named("init").placeholder(DType::Float, [2, 1, 4])?;
        let start = LSTMStateTuple { c: g.index(init, &[0.into()])?, h: g.index(init, &[1.into()])? };
        let options = RnnOptions { initial_state: Some(start.into()), time_major: true, ..RnnOptions::default() };
        g.dynamic_rnn(&LSTMCell::new(4).name("celula"), x, &options).map(drop)
    });
}

#[test]
fn lstm_lengths() {
    check("lstm_lengths", |g| {
        let x = g.named("x").placeholder(DType::Float, [None, None, Some(3)])?;
        let n = g.named("n").placeholder(DType::Int64, [None])?;
        let cell = LSTMCell::new(4).use_peepholes(true).cell_clip(2.0).num_proj(2).proj_clip(0.5).forget_bias(0.5);
        let options = RnnOptions { sequence_length: Some(n.into()), swap_memory: true, parallel_iterations: Some(4), ..float() };
        g.dynamic_rnn(&cell, x, &options).map(drop)
    });
}

#[test]
fn lstm_lengths_static() {
    check("lstm_lengths_static", |g| {
        let x = g.named("x").placeholder(DType::Double, [2, 5, 3])?;
        let cell = LSTMCell::new(4).state_is_tuple(false).initializer(Initializer::ones());
        let cell = cell.activation(Activation::new(|g, x| g.relu(x)));
        let options = RnnOptions { sequence_length: Some([5i32, 3].into()), dtype: Some(DType::Double), ..RnnOptions::default() };
        g.dynamic_rnn(&cell, x, &options).map(drop)
    });
}

#[test]
fn stacked() {
    check("stacked", |g| {
        let x = g.named("x").placeholder(DType::Float, [Some(5), None, Some(3)])?;
        let cells = MultiRNNCell::new(vec![
            Box::new(BasicLSTMCell::new(4)),
            Box::new(GRUCell::new(4)),
            Box::new(ResidualWrapper::new(Box::new(BasicRNNCell::new(4)))),
        ])?;
        g.dynamic_rnn(&cells, x, &RnnOptions { time_major: true, ..float() })?;
        let joined = MultiRNNCell::new(vec![Box::new(GRUCell::new(2)), Box::new(BasicRNNCell::new(3))])?.with_joined_state()?;
        let options = RnnOptions { time_major: true, scope: Some("joined".into()), ..float() };
        g.dynamic_rnn(&joined, x, &options).map(drop)
    });
}

#[test]
fn bidirectional() {
    check("bidirectional", |g| {
        let x = g.named("x").placeholder(DType::Float, [Some(2), None, Some(3)])?;
        let n = g.named("n").placeholder(DType::Int32, [2])?;
        let options = BidirectionalOptions { dtype: Some(DType::Float), ..BidirectionalOptions::default() };
        g.bidirectional_dynamic_rnn(&GRUCell::new(4), &GRUCell::new(4), x, &options)?;
        let options = BidirectionalOptions { sequence_length: Some(n.into()), scope: Some("lengths".into()), ..options };
        g.bidirectional_dynamic_rnn(&LSTMCell::new(4), &LSTMCell::new(4), x, &options).map(drop)
    });
}

#[test]
fn wrapped() {
    check("wrapped", |g| {
        g.set_random_seed(3);
        let keep = g.named("keep").placeholder(DType::Float, Shape::scalar())?;
        let x = g.named("x").placeholder(DType::Float, [4, 2, 3])?;
        let options = DropoutWrapperOptions {
            input_keep_prob: keep.into(),
            output_keep_prob: 0.5f32.into(),
            state_keep_prob: 0.75f32.into(),
            seed: Some(7),
        };
        let cell = DropoutWrapper::new(g, Box::new(LSTMCell::new(4)), &options)?;
        let cell = DeviceWrapper::new(Box::new(cell), "/device:CPU:0");
        g.dynamic_rnn(&cell, x, &RnnOptions { time_major: true, ..float() }).map(drop)
    });
}

#[test]
fn unrolled() {
    check("unrolled", |g| {
        let x = g.named("x").placeholder(DType::Float, [2, 2, 3])?;
        let n = g.named("n").placeholder(DType::Int32, [2])?;
        let steps = g.unstack(x)?;
        let options = StaticRnnOptions { dtype: Some(DType::Float), ..StaticRnnOptions::default() };
        g.static_rnn(&LSTMCell::new(4), &steps, &options)?;
        let stack = MultiRNNCell::new(vec![Box::new(GRUCell::new(4))])?;
        g.static_rnn(&stack, &steps, &StaticRnnOptions { scope: Some("stack".into()), ..options.clone() })?;
        let lengths = StaticRnnOptions { sequence_length: Some(n.into()), scope: Some("lengths".into()), ..options };
        g.static_rnn(&BasicRNNCell::new(4), &steps, &lengths).map(drop)
    });
}
