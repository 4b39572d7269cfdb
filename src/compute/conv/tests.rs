use super::*;
use crate::compute::level::tests::at_every_level;

fn axis(input: usize, window: usize, stride: usize, dilation: usize, before: usize, after: usize) -> Axis {
    let extent = (window - 1) * dilation + 1;
    let output = (input + before + after + stride).saturating_sub(extent) / stride;
    Axis { input, output, window, stride, dilation, padding: before }
}

/// Rows and columns.
fn axes() -> Vec<(Axis, Axis)> {
    vec![
        (axis(1, 1, 1, 1, 0, 0), axis(1, 1, 1, 1, 0, 0)),
        (axis(4, 1, 1, 1, 0, 0), axis(3, 1, 1, 1, 0, 0)),
        (axis(5, 3, 1, 1, 1, 1), axis(4, 3, 1, 1, 1, 1)),
        (axis(5, 2, 2, 1, 0, 1), axis(6, 3, 2, 1, 0, 1)),
        (axis(7, 3, 1, 2, 2, 2), axis(5, 2, 1, 3, 1, 0)),
        (axis(2, 5, 3, 1, 2, 4), axis(9, 1, 4, 1, 3, 1)),
        (axis(2, 3, 1, 1, 0, 0), axis(5, 3, 1, 1, 0, 0)),
        (axis(3, 2, 1, 1, 4, 4), axis(3, 2, 5, 1, 4, 4)),
    ]
}

/// Small whole numbers, so that sums are exact in any order.
fn data(length: usize, seed: usize) -> Vec<f32> {
    (0..length).map(|i| ((i * 7 + seed * 13 + i / 3) % 9) as f32 - 4.0).collect()
}

/// Calls `body(output pixel, input pixel, tap)` for all pairs that a convolution joins.
fn for_pairs(batch: usize, rows: &Axis, columns: &Axis, mut body: impl FnMut(usize, usize, usize)) {
    let position = |axis: &Axis, output: usize, tap: usize| {
        let position = (output * axis.stride + tap * axis.dilation) as isize - axis.padding as isize;
        usize::try_from(position).ok().filter(|position| *position < axis.input)
    };
    for output in 0..batch * rows.output * columns.output {
        let (image, row, column) =
            (output / columns.output / rows.output, output / columns.output % rows.output, output % columns.output);
        for tap in 0..rows.window * columns.window {
            if let (Some(y), Some(x)) =
                (position(rows, row, tap / columns.window), position(columns, column, tap % columns.window))
            {
                body(output, (image * rows.input + y) * columns.input + x, tap);
            }
        }
    }
}

#[test]
fn taps_and_positions_agree() {
    for (rows, columns) in axes() {
        for axis in [rows, columns] {
            for output in 0..axis.output {
                let inside: Vec<usize> = (0..axis.window).filter(|tap| axis.position(output, *tap).is_some()).collect();
                assert_eq!(axis.taps(output).collect::<Vec<usize>>(), inside, "{axis:?}, output {output}");
            }
        }
    }
}

#[test]
fn convolutions() {
    at_every_level(|| {
        for (rows, columns) in axes() {
            for (batch, in_channels, out_channels, groups) in
                [(1, 1, 1, 1), (2, 3, 5, 1), (3, 4, 6, 2), (0, 2, 2, 1), (1, 2, 17, 1), (2, 3, 50, 1), (3, 9, 4, 1)]
            {
                let sizes = Conv2d { batch, rows, columns, in_channels, out_channels, groups };
                let (inputs, outputs) = (in_channels / groups, out_channels / groups);
                let (input, filter) = (data(sizes.input_size(), 1), data(sizes.filter_size(), 2));
                let gradient = data(sizes.output_size(), 3);
                let mut expected = vec![0.0; sizes.output_size()];
                let (mut expected_input, mut expected_filter) = (vec![0.0; input.len()], vec![0.0; filter.len()]);
                for_pairs(batch, &rows, &columns, |to, from, tap| {
                    for o in 0..out_channels {
                        for i in 0..inputs {
                            let from = from * in_channels + o / outputs * inputs + i;
                            let (to, weight) = (to * out_channels + o, (tap * inputs + i) * out_channels + o);
                            expected[to] += input[from] * filter[weight];
                            expected_input[from] += gradient[to] * filter[weight];
                            expected_filter[weight] += gradient[to] * input[from];
                        }
                    }
                });
                let mut output = vec![9.0; sizes.output_size()];
                conv2d(&sizes, &input, &filter, &mut output);
                assert_eq!(output, expected, "{sizes:?}");
                let mut input_gradient = vec![9.0; input.len()];
                conv2d_backprop_input(&sizes, &filter, &gradient, &mut input_gradient);
                assert_eq!(input_gradient, expected_input, "{sizes:?}");
                let mut filter_gradient = vec![9.0; filter.len()];
                conv2d_backprop_filter(&sizes, &input, &gradient, &mut filter_gradient);
                assert_eq!(filter_gradient, expected_filter, "{sizes:?}");
                if sizes.is_direct() {
                    output.fill(9.0);
                    conv2d_direct(&sizes, &input, &filter, &mut output);
                    assert_eq!(output, expected, "direct, {sizes:?}");
                    filter_gradient.fill(9.0);
                    conv2d_backprop_filter_direct(&sizes, &input, &gradient, &mut filter_gradient);
                    assert_eq!(filter_gradient, expected_filter, "direct, {sizes:?}");
                }
                if let Some(turned) = sizes.of_input_gradient() {
                    input_gradient.fill(9.0);
                    conv2d_backprop_input_direct(&sizes, &turned, &filter, &gradient, &mut input_gradient);
                    assert_eq!(input_gradient, expected_input, "direct, {sizes:?}");
                }
            }
        }
    });
}

#[test]
fn convolutions_of_more_than_one_block() {
    let (rows, columns) = (axis(70, 3, 1, 1, 1, 1), axis(70, 3, 1, 1, 1, 1));
    let sizes = Conv2d { batch: 1, rows, columns, in_channels: 3, out_channels: 2, groups: 1 };
    let (input, filter) = (vec![1.0f64; sizes.input_size()], vec![1.0; sizes.filter_size()]);
    let mut output = vec![0.0; sizes.output_size()];
    conv2d(&sizes, &input, &filter, &mut output);
    let inside = |at: usize| if at == 0 || at == 69 { 2 } else { 3 };
    let wrong = (0..output.len()).find(|at| output[*at] != (3 * inside(at / 140) * inside(at / 2 % 70)) as f64);
    assert_eq!(wrong, None);
    let mut filter_gradient = vec![0.0; sizes.filter_size()];
    conv2d_backprop_filter(&sizes, &input, &vec![1.0; output.len()], &mut filter_gradient);
    assert_eq!(filter_gradient[..2], [69.0 * 69.0; 2]);
    assert_eq!(filter_gradient[6 * 4..][..2], [70.0 * 70.0; 2]);
}

#[test]
fn depthwise_convolutions() {
    at_every_level(|| {
        for (rows, columns) in axes() {
            for (batch, channels, multiplier) in [(1, 1, 1), (2, 17, 1), (2, 3, 2), (0, 2, 2), (1, 2, 0)] {
                let sizes = DepthwiseConv2d { batch, rows, columns, channels, multiplier };
                let (input, filter) = (data(sizes.input_size(), 1), data(sizes.filter_size(), 2));
                let gradient = data(sizes.output_size(), 3);
                let mut expected = vec![0.0; sizes.output_size()];
                let (mut expected_input, mut expected_filter) = (vec![0.0; input.len()], vec![0.0; filter.len()]);
                for_pairs(batch, &rows, &columns, |to, from, tap| {
                    for o in 0..channels * multiplier {
                        let from = from * channels + o / multiplier;
                        let (to, weight) = (to * channels * multiplier + o, tap * channels * multiplier + o);
                        expected[to] += input[from] * filter[weight];
                        expected_input[from] += gradient[to] * filter[weight];
                        expected_filter[weight] += gradient[to] * input[from];
                    }
                });
                let mut output = vec![9.0; sizes.output_size()];
                depthwise_conv2d(&sizes, &input, &filter, &mut output);
                assert_eq!(output, expected, "{sizes:?}");
                let mut input_gradient = vec![9.0; input.len()];
                depthwise_conv2d_backprop_input(&sizes, &filter, &gradient, &mut input_gradient);
                assert_eq!(input_gradient, expected_input, "{sizes:?}");
                let mut filter_gradient = vec![9.0; filter.len()];
                depthwise_conv2d_backprop_filter(&sizes, &input, &gradient, &mut filter_gradient);
                assert_eq!(filter_gradient, expected_filter, "{sizes:?}");
            }
        }
    });
}
