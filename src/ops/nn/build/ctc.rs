//! Connectionist temporal classification, and predictions within the best.

use crate::error::Result;
use crate::graph::{Graph, Output};
use crate::ops::convert::Arg;
use crate::ops::nn::python::cast;
use crate::ops::sparse::SparseTensor;
use crate::tensor::DType;

/// How [`Graph::ctc_loss`] reads its inputs.
#[derive(Clone, Copy, Debug)]
pub struct CtcLoss {
    /// Equal labels that follow one another are one.
    pub preprocess_collapse_repeated: bool,
    /// Equal outputs that follow one another are one label.
    pub ctc_merge_repeated: bool,
    /// Examples with more labels than steps don't count, rather than being an error.
    pub ignore_longer_outputs_than_inputs: bool,
    /// The inputs are `[time, batch, classes]` rather than `[batch, time, classes]`.
    pub time_major: bool,
}

impl Default for CtcLoss {
    fn default() -> CtcLoss {
        CtcLoss {
            preprocess_collapse_repeated: false,
            ctc_merge_repeated: true,
            ignore_longer_outputs_than_inputs: false,
            time_major: true,
        }
    }
}

impl Graph {
    /// The negative log probability of each example's labels, the last class being the blank (`tf.nn.ctc_loss`).
    ///
    /// # Errors
    /// `InvalidArgument` for inputs of other ranks.
    pub fn ctc_loss(
        &self,
        labels: &SparseTensor,
        inputs: Output,
        sequence_length: impl Into<Arg>,
        options: CtcLoss,
    ) -> Result<Output> {
        let g = self;
        let inputs = if options.time_major { inputs } else { g.plain().transpose(inputs, Some(vec![1i32, 0, 2].into()))? };
        let dtype = g.dtype(inputs)?;
        let narrow = matches!(dtype, DType::Half | DType::Bfloat16);
        let inputs = if narrow { cast(&g.plain(), inputs, DType::Float)? } else { inputs };
        let call = g.call("CTCLoss").arg(inputs).arg(labels.indices).arg(labels.values).arg(sequence_length);
        let call = call.attr("preprocess_collapse_repeated", options.preprocess_collapse_repeated);
        let call = call.attr("ctc_merge_repeated", options.ctc_merge_repeated);
        let call = call.attr("ignore_longer_outputs_than_inputs", options.ignore_longer_outputs_than_inputs);
        let loss = call.outputs()?[0];
        if narrow { cast(&g.plain(), loss, dtype) } else { Ok(loss) }
    }

    /// The best class at each step, without repetitions and blanks, and the negative sum of the logits
    /// (`tf.nn.ctc_greedy_decoder`).
    ///
    /// # Errors
    /// `InvalidArgument` for inputs that aren't `[time, batch, classes]`.
    pub fn ctc_greedy_decoder(
        &self,
        inputs: impl Into<Arg>,
        sequence_length: impl Into<Arg>,
        merge_repeated: bool,
    ) -> Result<(SparseTensor, Output)> {
        let call = self.call("CTCGreedyDecoder").arg(inputs).arg(sequence_length).attr("merge_repeated", merge_repeated);
        let outputs = call.outputs()?;
        Ok((SparseTensor::new(outputs[0], outputs[1], outputs[2]), outputs[3]))
    }

    /// The most likely label sequences that a beam search finds, and their log probabilities
    /// (`tf.nn.ctc_beam_search_decoder`).
    ///
    /// # Errors
    /// `InvalidArgument` for inputs that aren't `[time, batch, classes]`, or more paths than beams.
    pub fn ctc_beam_search_decoder(
        &self,
        inputs: impl Into<Arg>,
        sequence_length: impl Into<Arg>,
        beam_width: i64,
        top_paths: usize,
        merge_repeated: bool,
    ) -> Result<(Vec<SparseTensor>, Output)> {
        let call = self.call("CTCBeamSearchDecoder").arg(inputs).arg(sequence_length).attr("beam_width", beam_width);
        let call = call.attr("top_paths", top_paths as i64).attr("merge_repeated", merge_repeated);
        let outputs = call.outputs()?;
        let path = |i: usize| SparseTensor::new(outputs[i], outputs[top_paths + i], outputs[2 * top_paths + i]);
        Ok(((0..top_paths).map(path).collect(), outputs[3 * top_paths]))
    }

    /// Whether each target is among the `k` highest predictions of its row (`tf.nn.in_top_k`).
    ///
    /// # Errors
    /// `InvalidArgument` for predictions that aren't a matrix.
    pub fn in_top_k(&self, predictions: impl Into<Arg>, targets: impl Into<Arg>, k: impl Into<Arg>) -> Result<Output> {
        let (g, _scope) = self.enter("in_top_k")?;
        let name = self.name_or("InTopKV2").to_string();
        g.named(&name).call("InTopKV2").arg(predictions).arg(targets).arg(k).output()
    }
}
