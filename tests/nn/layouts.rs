//! Every cell and wrapper in both layouts, with and without lengths of sequences.

use crate::check;
use metagraph::nn::{
    Activation, BasicLSTMCell, BasicRNNCell, BidirectionalOptions, DeviceWrapper, DropoutWrapper, DropoutWrapperOptions, GRUCell,
    LSTMCell, MultiRNNCell, RNNCell, ResidualWrapper, RnnOptions,
};
use metagraph::{DType, Graph, Output, Result};

/// Calls `run` for each layout, with and without lengths; the scope tells which.
fn each(g: &Graph, mut run: impl FnMut(Output, Option<Output>, bool, &str) -> Result<()>) -> Result<()> {
    let n = g.named("n").placeholder(DType::Int32, [None])?;
    for major in [false, true] {
        let x = g.named("x").placeholder(DType::Float, [None, Some(4), Some(2)])?;
        for lengths in [None, Some(n)] {
            let scope = format!("major{}_lengths{}", i32::from(major), i32::from(lengths.is_some()));
            run(x, lengths, major, &scope)?;
        }
    }
    Ok(())
}

fn layouts(name: &str, make: impl Fn(&Graph) -> Result<Box<dyn RNNCell>>) {
    check(&format!("cell_{name}"), |g| {
        g.set_random_seed(5);
        let mut last = None;
        each(g, |x, lengths, time_major, scope| {
            let options = RnnOptions {
                sequence_length: lengths.map(Into::into),
                dtype: Some(DType::Float),
                time_major,
                scope: Some(scope.into()),
                ..RnnOptions::default()
            };
            let (y, _) = g.dynamic_rnn(make(g)?.as_ref(), x, &options)?;
            last = Some((y, x));
            Ok(())
        })?;
        let Some((y, x)) = last else { return Ok(()) };
        g.gradients(&[y], &[x], &Default::default()).map(drop)
    });
}

#[test]
fn basic_rnn() {
    layouts("basic_rnn", |_| Ok(Box::new(BasicRNNCell::new(3))));
}

#[test]
fn basic_lstm() {
    layouts("basic_lstm", |_| Ok(Box::new(BasicLSTMCell::new(3))));
}

#[test]
fn lstm() {
    layouts("lstm", |_| Ok(Box::new(LSTMCell::new(3))));
}

#[test]
fn lstm_projected() {
    layouts("lstm_projected", |_| {
        let cell = LSTMCell::new(4).use_peepholes(true).num_proj(2).cell_clip(1.5);
        Ok(Box::new(cell.activation(Activation::new(|g, x| g.relu(x)))))
    });
}

#[test]
fn gru() {
    layouts("gru", |_| Ok(Box::new(GRUCell::new(3))));
}

#[test]
fn multi() {
    layouts("multi", |_| Ok(Box::new(MultiRNNCell::new(vec![Box::new(LSTMCell::new(3)), Box::new(GRUCell::new(2))])?)));
}

#[test]
fn dropout() {
    layouts("dropout", |g| {
        let options = DropoutWrapperOptions {
            input_keep_prob: 0.5f32.into(),
            output_keep_prob: 0.8f32.into(),
            state_keep_prob: 0.9f32.into(),
            seed: Some(3),
        };
        Ok(Box::new(DropoutWrapper::new(g, Box::new(GRUCell::new(3)), &options)?))
    });
}

#[test]
fn residual() {
    layouts("residual", |_| Ok(Box::new(ResidualWrapper::new(Box::new(GRUCell::new(2))))));
}

#[test]
fn device() {
    layouts("device", |_| Ok(Box::new(DeviceWrapper::new(Box::new(BasicRNNCell::new(3)), "/cpu:0"))));
}

#[test]
fn bidirectional() {
    check("bidirectional_layouts", |g| {
        each(g, |x, lengths, time_major, scope| {
            let options = BidirectionalOptions {
                sequence_length: lengths.map(Into::into),
                dtype: Some(DType::Float),
                time_major,
                scope: Some(scope.into()),
                ..BidirectionalOptions::default()
            };
            g.bidirectional_dynamic_rnn(&GRUCell::new(3), &BasicRNNCell::new(2), x, &options).map(drop)
        })
    });
}
