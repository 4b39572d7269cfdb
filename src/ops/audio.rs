//! Sound: wave files, spectrograms and cepstral coefficients.

use crate::compute::pool::parallel_pieces;
use crate::error::{Error, Result, bail};
use crate::graph::op::{Grad, InferCtx, Kernel, KernelCtx, Op};
use crate::graph::{Graph, Output};
use crate::ops::convert::Arg;
use crate::tensor::{DType, Shape, Tensor};
use rustfft::FftPlanner;
use rustfft::num_complex::Complex;
use std::f64::consts::PI;

pub(super) static OPS: &[Op] = &[
    Op {
        name: "DecodeWav",
        ins: &["contents: string"],
        outs: &["audio: float", "sample_rate: int32"],
        attrs: &["desired_channels: int = -1", "desired_samples: int = -1"],
        shape: decode_wav_shape,
        kernel: Kernel::Pure(decode_wav),
        grad: Grad::Missing,
        rows: &[
            r#"str "RIFF0\x00\x00\x00WAVEfmt \x10\x00\x00\x00\x01\x00\x02\x00\x80>\x00\x00\x00\xfa\x00\x00\x04\x00\x10\x00data\x0c\x00\x00\x00\x00@\x00\xc0\x00 \xff\x7f\x00\x00\x00\x80"
             => f32[[0.5 -0.5] [0.25 0.9999695] [0 -1]], i32 16000"#,
            r#"desired_channels=3, desired_samples=4; str "RIFF,\x00\x00\x00WAVEJUNK\x02\x00\x00\x00??fmt \x10\x00\x00\x00\x01\x00\x01\x00\x80>\x00\x00\x00}\x00\x00\x02\x00\x10\x00data\x06\x00\x00\x00\x00@\x00\xc0\x00 "
             => f32[[0.5 0.5 0.5] [-0.5 -0.5 -0.5] [0.25 0.25 0.25] [0 0 0]], i32 16000"#,
        ],
    },
    Op {
        name: "EncodeWav",
        ins: &["audio: float", "sample_rate: int32"],
        outs: &["contents: string"],
        attrs: &[],
        shape: |ctx| {
            ctx.input(0).with_rank(2)?;
            ctx.input(1).with_rank(0)?;
            ctx.set(0, Shape::scalar())
        },
        kernel: Kernel::Pure(encode_wav),
        grad: Grad::Missing,
        rows: &[r#"f32[[0.5 -0.5] [0.25 1] [0 -2]], i32 16000 =>
             str "RIFF0\x00\x00\x00WAVEfmt \x10\x00\x00\x00\x01\x00\x02\x00\x80>\x00\x00\x00\xfa\x00\x00\x04\x00\x10\x00data\x0c\x00\x00\x00\x00@\x00\xc0\x00 \xff\x7f\x00\x00\x00\x80""#],
    },
    Op {
        name: "AudioSpectrogram",
        ins: &["input: float"],
        outs: &["spectrogram: float"],
        attrs: &["window_size: int", "stride: int", "magnitude_squared: bool = false"],
        shape: spectrogram_shape,
        kernel: Kernel::Pure(spectrogram),
        grad: Grad::Missing,
        rows: &[
            "window_size=4, stride=2, magnitude_squared=true; f32[[1] [2] [3] [4] [5] [6]] => f32[[[36 10 0] [100 26 0]]]",
            "window_size=4, stride=2; f32[[1] [2] [3]] => f32{1,0,3}[]",
        ],
    },
    Op {
        name: "Mfcc",
        ins: &["spectrogram: float", "sample_rate: int32"],
        outs: &["output: float"],
        attrs: &[
            "upper_frequency_limit: float = 4000",
            "lower_frequency_limit: float = 20",
            "filterbank_channel_count: int = 40",
            "dct_coefficient_count: int = 13",
        ],
        shape: mfcc_shape,
        kernel: Kernel::Pure(mfcc),
        grad: Grad::Missing,
        rows: &["filterbank_channel_count=3, dct_coefficient_count=2; f32[[[1 1 1 1 1] [1 1 1 1 1]]], i32 16000 \
             => f32[[[-24.116266 -19.396152] [-24.116266 -19.396152]]]"],
    },
];

/// A wave file's samples, channel by channel within each moment.
struct Wave<'a> {
    samples: &'a [[u8; 2]],
    channels: usize,
    rate: u32,
}

/// What is left of a file to be read.
struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    fn bytes(&mut self, count: usize) -> Result<&'a [u8]> {
        let Some((bytes, rest)) = self.rest.split_at_checked(count) else {
            bail!(InvalidArgument, "Data too short when trying to read string: {count} bytes expected, {} left", self.rest.len());
        };
        self.rest = rest;
        Ok(bytes)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N]> {
        self.bytes(N)?.try_into().map_err(|_| Error::internal("a slice of another length"))
    }

    fn expect(&mut self, text: &str) -> Result<()> {
        let found = self.bytes(text.len())?;
        if found != text.as_bytes() {
            bail!(InvalidArgument, "Header mismatch: Expected {text} but found {}", found.escape_ascii());
        }
        Ok(())
    }

    fn u16(&mut self) -> Result<u16> {
        Ok(u16::from_le_bytes(self.array()?))
    }

    fn u32(&mut self) -> Result<u32> {
        Ok(u32::from_le_bytes(self.array()?))
    }
}

/// Chunks that may stand before the format.
const PADDING_CHUNKS: &[&[u8]] = &[b"JUNK", b"bext", b"iXML", b"qlty", b"mext", b"levl", b"link", b"axml"];

fn parse_wav(bytes: &[u8]) -> Result<Wave<'_>> {
    let mut file = Reader { rest: bytes };
    file.expect("RIFF")?;
    file.u32()?;
    file.expect("WAVE")?;
    loop {
        let id = file.bytes(4)?;
        if id == b"fmt " {
            break;
        }
        if !PADDING_CHUNKS.contains(&id) {
            bail!(InvalidArgument, "Unexpected field {}", id.escape_ascii());
        }
        let size = file.u32()?;
        file.bytes(size as usize)?;
    }
    let format_size = file.u32()?;
    if format_size != 16 && format_size != 18 {
        bail!(InvalidArgument, "Bad format chunk size for WAV: Expected 16 or 18, but got {format_size}");
    }
    let format = file.u16()?;
    if format != 1 {
        bail!(InvalidArgument, "Bad audio format for WAV: Expected 1 (PCM), but got {format}");
    }
    let channels = file.u16()?;
    if channels < 1 {
        bail!(InvalidArgument, "Bad number of channels for WAV: Expected at least 1, but got {channels}");
    }
    let (rate, bytes_per_second) = (file.u32()?, file.u32()?);
    let (bytes_per_moment, bits) = (file.u16()?, file.u16()?);
    if bits != 16 {
        bail!(InvalidArgument, "Can only read 16-bit WAV files, but received {bits}");
    }
    let expected = 2 * u32::from(channels);
    if u32::from(bytes_per_moment) != expected {
        bail!(InvalidArgument, "Bad bytes per sample in WAV header: Expected {expected} but got {bytes_per_moment}");
    }
    let expected = rate.wrapping_mul(expected);
    if bytes_per_second != expected {
        bail!(
            InvalidArgument,
            "Bad bytes per second in WAV header: Expected {expected} but got {bytes_per_second} (sample_rate={rate}, bytes_per_sample={bytes_per_moment})"
        );
    }
    if format_size == 18 {
        file.bytes(2)?;
    }
    let mut samples = None;
    while !file.rest.is_empty() {
        let (id, size) = (file.bytes(4)?, file.u32()?);
        if size > i32::MAX as u32 {
            bail!(
                InvalidArgument,
                "WAV data chunk '{}' is too large: {size} bytes, but the limit is {}",
                id.escape_ascii(),
                i32::MAX
            );
        }
        if id == b"data" {
            if samples.is_some() {
                bail!(InvalidArgument, "More than one data chunk found in WAV");
            }
            let whole = size as usize / usize::from(bytes_per_moment) * usize::from(bytes_per_moment);
            samples = Some(file.bytes(whole)?.as_chunks::<2>().0);
        } else {
            file.bytes((size as usize).min(file.rest.len()))?;
        }
    }
    let Some(samples) = samples else { bail!(InvalidArgument, "No data chunk found in WAV") };
    Ok(Wave { samples, channels: channels.into(), rate })
}

fn decode_wav(ctx: &mut KernelCtx) -> Result<()> {
    let contents = scalar_string(ctx.input(0)?)?;
    let wave = parse_wav(contents)?;
    let moments = wave.samples.len() / wave.channels;
    let wanted = |name: &str, found: usize| -> Result<usize> {
        match ctx.node().int(name)? {
            -1 => Ok(found),
            given => usize::try_from(given)
                .map_err(|_| Error::invalid_argument(format!("{name} must be non-negative or -1, got {given}"))),
        }
    };
    let (channels, length) = (wanted("desired_channels", wave.channels)?, wanted("desired_samples", moments)?);
    let mut output = Tensor::zeros(DType::Float, &[length, channels])?;
    if channels > 0 {
        let rows = output.as_mut_slice::<f32>()?.chunks_exact_mut(channels);
        for (row, from) in rows.zip(wave.samples.chunks_exact(wave.channels)) {
            for (i, to) in row.iter_mut().enumerate() {
                *to = f32::from(i16::from_le_bytes(from[i.min(wave.channels - 1)])) / 32768.0;
            }
        }
    }
    let rate = wave.rate as i32;
    ctx.set(0, output)?;
    ctx.set(1, Tensor::scalar(rate))
}

fn scalar_string(tensor: &Tensor) -> Result<&[u8]> {
    match tensor.strings()? {
        [contents] if tensor.is_scalar() => Ok(contents),
        _ => bail!(InvalidArgument, "contents must be scalar, got shape {:?}", tensor.dims()),
    }
}

fn decode_wav_shape(ctx: &mut InferCtx) -> Result<()> {
    ctx.input(0).with_rank(0)?;
    let size = |given: i64, name: &str| match given {
        -1 => Ok(None),
        given if given >= 0 => Ok(usize::try_from(given).ok()),
        given => Err(Error::invalid_argument(format!("{name} must be non-negative, got {given}"))),
    };
    let channels = size(ctx.int("desired_channels")?, "channels")?;
    let samples = size(ctx.int("desired_samples")?, "samples")?;
    ctx.set(0, Shape::matrix(samples, channels))?;
    ctx.set(1, Shape::scalar())
}

fn encode_wav(ctx: &mut KernelCtx) -> Result<()> {
    let (audio, rate) = (ctx.input(0)?, ctx.input(1)?);
    let &[length, channels] = audio.dims() else { bail!(InvalidArgument, "audio must be 2-dimensional: {:?}", audio.dims()) };
    if !rate.is_scalar() {
        bail!(InvalidArgument, "Input sample_rate should be a scalar tensor, got {:?} instead.", rate.dims());
    }
    let rate = rate.item::<i32>()?;
    if rate <= 0 {
        bail!(InvalidArgument, "sample_rate must be in (0, 2^32), got: {rate}");
    }
    let file = wave_file(audio.as_slice()?, rate as u32, length, channels)?;
    ctx.set(0, Tensor::string(file))
}

/// A wave file of 16-bit samples, from samples between -1 and 1, those of one moment side by side.
pub(super) fn wave_file(samples: &[f32], rate: u32, length: usize, channels: usize) -> Result<Vec<u8>> {
    let Some(channels) = u16::try_from(channels).ok().filter(|&c| c > 0) else {
        bail!(InvalidArgument, "num_channels must be in (0, 2^16), got: {channels}");
    };
    let per_moment = 2 * u32::from(channels);
    let data_size = u32::try_from(length).ok().and_then(|l| l.checked_mul(per_moment));
    let Some(data_size) = data_size.filter(|&d| d <= u32::MAX - 44) else {
        bail!(InvalidArgument, "Provided channels and frames cannot be encoded as a WAV.");
    };
    let mut file = Vec::with_capacity(44 + data_size as usize);
    file.extend(b"RIFF");
    file.extend((data_size + 36).to_le_bytes());
    file.extend(b"WAVEfmt ");
    file.extend(16u32.to_le_bytes());
    file.extend(1u16.to_le_bytes());
    file.extend(channels.to_le_bytes());
    file.extend(rate.to_le_bytes());
    file.extend(rate.wrapping_mul(per_moment).to_le_bytes());
    file.extend((per_moment as u16).to_le_bytes());
    file.extend(16u16.to_le_bytes());
    file.extend(b"data");
    file.extend(data_size.to_le_bytes());
    for &sample in samples {
        file.extend(((sample * 32768.0).round() as i16).to_le_bytes());
    }
    Ok(file)
}

fn window_attrs(window: i64, stride: i64) -> Result<(usize, usize)> {
    if window <= 1 || window > i64::from(i32::MAX) {
        bail!(InvalidArgument, "window_size must be > 1, got {window}");
    }
    if stride <= 0 {
        bail!(InvalidArgument, "stride must be > 0, got {stride}");
    }
    Ok((window as usize, stride as usize))
}

fn spectrogram_shape(ctx: &mut InferCtx) -> Result<()> {
    let input = ctx.input(0).with_rank(2)?;
    let (window, stride) = window_attrs(ctx.int("window_size")?, ctx.int("stride")?)?;
    let height = input.dim(0).map(|length| windows(length, window, stride));
    ctx.set(0, Shape::from([input.dim(1), height, Some(1 + window.next_power_of_two() / 2)]))
}

fn windows(length: usize, window: usize, stride: usize) -> usize {
    length.checked_sub(window).map_or(0, |rest| 1 + rest / stride)
}

/// Magnitudes of the Fourier transforms of overlapping windows, weighted by the periodic Hann window and filled up with
/// zeros to a power of two.
fn spectrogram(ctx: &mut KernelCtx) -> Result<()> {
    let input = ctx.input(0)?;
    let &[length, channels] = input.dims() else { bail!(InvalidArgument, "input must be 2-dimensional{:?}", input.dims()) };
    let node = ctx.node();
    let (window, stride) = window_attrs(node.int("window_size")?, node.int("stride")?)?;
    let squared = node.boolean("magnitude_squared")?;
    let size = window.next_power_of_two();
    let (height, width) = (windows(length, window, stride), 1 + size / 2);
    let mut output = Tensor::zeros(DType::Float, &[channels, height, width])?;
    if output.is_empty() {
        return ctx.set(0, output);
    }
    let weights: Vec<f64> = (0..window).map(|i| 0.5 - 0.5 * (2.0 * PI * i as f64 / window as f64).cos()).collect();
    let transform = FftPlanner::<f64>::new().plan_fft_forward(size);
    let samples = input.as_slice::<f32>()?;
    parallel_pieces(output.as_mut_slice::<f32>()?, width, 16, |first, rows| {
        let zero = Complex::new(0.0, 0.0);
        let mut scratch = vec![zero; transform.get_inplace_scratch_len()];
        let mut values = vec![zero; size];
        for (row, to) in rows.chunks_exact_mut(width).enumerate() {
            let (channel, start) = ((first + row) / height, (first + row) % height * stride);
            for (i, value) in values.iter_mut().enumerate() {
                let sample = |w: &f64| w * f64::from(samples[(start + i) * channels + channel]);
                *value = Complex::new(weights.get(i).map_or(0.0, sample), 0.0);
            }
            transform.process_with_scratch(&mut values, &mut scratch);
            for (to, value) in to.iter_mut().zip(&values) {
                let magnitude = value.norm_sqr() as f32;
                *to = if squared { magnitude } else { magnitude.sqrt() };
            }
        }
    });
    ctx.set(0, output)
}

fn mfcc_shape(ctx: &mut InferCtx) -> Result<()> {
    let spectrogram = ctx.input(0).with_rank(3)?;
    ctx.input(1).with_rank(0)?;
    let coefficients = usize::try_from(ctx.int("dct_coefficient_count")?).ok();
    ctx.set(0, Shape::from([spectrogram.dim(0), spectrogram.dim(1), coefficients]))
}

/// Triangular filters over the bins of a spectrum, evenly spaced on the mel scale: each bin counts towards two neighbours.
struct MelFilters {
    start: usize,
    /// One past the last bin.
    end: usize,
    /// The filter on whose falling side a bin stands, plus one; 0 before the first filter.
    filter: Vec<usize>,
    /// How much of the bin counts towards that filter; the rest counts towards the next.
    weight: Vec<f64>,
    count: usize,
}

fn mel(frequency: f64) -> f64 {
    1127.0 * (frequency / 700.0).ln_1p()
}

impl MelFilters {
    fn new(bins: usize, sample_rate: f64, count: usize, low: f64, high: f64) -> Option<MelFilters> {
        if count < 1 || sample_rate <= 0.0 || bins < 2 || low < 0.0 || !(high > low) {
            return None;
        }
        let (mel_low, mel_high) = (mel(low), mel(high));
        let spacing = (mel_high - mel_low) / (count + 1) as f64;
        let center = |i: usize| mel_low + spacing * (i + 1) as f64;
        let hertz_per_bin = 0.5 * sample_rate / (bins - 1) as f64;
        let start = (1.5 + low / hertz_per_bin) as usize;
        let end = ((high / hertz_per_bin) as usize).saturating_add(1);
        let (mut filter, mut weight) = (vec![0; bins], vec![0.0; bins]);
        let mut at = 0;
        for i in start..end.min(bins) {
            let m = mel(i as f64 * hertz_per_bin);
            while at < count && center(at) < m {
                at += 1;
            }
            filter[i] = at;
            let below = if at == 0 { mel_low } else { center(at - 1) };
            weight[i] = (center(at) - m) / (center(at) - below);
        }
        Some(MelFilters { start, end, filter, weight, count })
    }

    /// The filters' sums of the magnitudes of which the squares are given; none where a filter lies beyond the spectrum.
    fn apply(&self, squares: &[f32], sums: &mut [f64]) -> bool {
        sums.fill(0.0);
        if squares.len() < self.end {
            return false;
        }
        for i in self.start..self.end {
            let value = f64::from(squares[i]).sqrt();
            let weighted = value * self.weight[i];
            let filter = self.filter[i];
            if filter > 0 {
                sums[filter - 1] += weighted;
            }
            if filter < self.count {
                sums[filter] += value - weighted;
            }
        }
        true
    }
}

fn mfcc(ctx: &mut KernelCtx) -> Result<()> {
    /// Smaller filter sums count as this one, so that there is a logarithm.
    const FLOOR: f64 = 1e-12;
    let (spectrogram, rate) = (ctx.input(0)?, ctx.input(1)?);
    let &[channels, length, bins] = spectrogram.dims() else {
        bail!(InvalidArgument, "spectrogram must be 3-dimensional{:?}", spectrogram.dims());
    };
    if !rate.is_scalar() {
        bail!(InvalidArgument, "Input sample_rate should be a scalar tensor, got {:?} instead.", rate.dims());
    }
    let (rate, node) = (rate.item::<i32>()?, ctx.node());
    let (filters, coefficients) = (node.int("filterbank_channel_count")?, node.int("dct_coefficient_count")?);
    let (high, low) = (node.float("upper_frequency_limit")?, node.float("lower_frequency_limit")?);
    let refuse = || {
        Error::invalid_argument(format!(
            "Mfcc initialization failed for channel count {bins}, sample rate {rate} and filterbank_channel_count {filters}"
        ))
    };
    let (count, wanted) = (usize::try_from(filters).map_err(|_| refuse())?, usize::try_from(coefficients).map_err(|_| refuse())?);
    if wanted < 1 || wanted > count || filters > i64::from(i32::MAX) {
        return Err(refuse());
    }
    let bank = MelFilters::new(bins, f64::from(rate), count, low.into(), high.into()).ok_or_else(refuse)?;
    let scale = (2.0 / count as f64).sqrt();
    let step = PI / count as f64;
    let mut output = Tensor::zeros(DType::Float, &[channels, length, wanted])?;
    if output.is_empty() {
        return ctx.set(0, output);
    }
    let cosines = crate::tensor::element_count(&[wanted, count])?;
    let cosines: Vec<f64> =
        (0..cosines).map(|i| scale * ((i / count) as f64 * step * ((i % count) as f64 + 0.5)).cos()).collect();
    let squares = spectrogram.as_slice::<f32>()?;
    let mut sums = vec![0.0; count];
    for (to, from) in output.as_mut_slice::<f32>()?.chunks_exact_mut(wanted).zip(squares.chunks_exact(bins)) {
        if !bank.apply(from, &mut sums) {
            continue;
        }
        sums.iter_mut().for_each(|s| *s = if *s < FLOOR { FLOOR.ln() } else { s.ln() });
        for (to, cosines) in to.iter_mut().zip(cosines.chunks_exact(count)) {
            *to = cosines.iter().zip(&sums).map(|(c, s)| c * s).sum::<f64>() as f32;
        }
    }
    ctx.set(0, output)
}

impl Graph {
    /// The samples of a 16-bit wave file, `[samples, channels]` in [-1, 1], and its sample rate (`tf.audio.decode_wav`).
    /// -1 takes as many channels or samples as the file has; missing samples are 0, missing channels repeat the last.
    ///
    /// # Errors
    /// `InvalidArgument` for contents that aren't a scalar.
    pub fn decode_wav(&self, contents: impl Into<Arg>, desired_channels: i64, desired_samples: i64) -> Result<(Output, Output)> {
        let call = self.call("DecodeWav").arg(contents);
        let outputs = call.attr("desired_channels", desired_channels).attr("desired_samples", desired_samples).outputs()?;
        Ok((outputs[0], outputs[1]))
    }

    /// A 16-bit wave file of samples `[samples, channels]` (`tf.audio.encode_wav`).
    ///
    /// # Errors
    /// `InvalidArgument` for samples of another rank.
    pub fn encode_wav(&self, audio: impl Into<Arg>, sample_rate: impl Into<Arg>) -> Result<Output> {
        self.call("EncodeWav").arg(audio).arg(sample_rate).output()
    }

    /// The spectrum of each window of samples `[samples, channels]`: `[channels, windows, bins]`
    /// (`audio_ops.audio_spectrogram`).
    ///
    /// # Errors
    /// `InvalidArgument` for samples of another rank, a window below 2 or a stride below 1.
    pub fn audio_spectrogram(
        &self,
        input: impl Into<Arg>,
        window_size: i64,
        stride: i64,
        magnitude_squared: bool,
    ) -> Result<Output> {
        let call = self.call("AudioSpectrogram").arg(input).attr("window_size", window_size).attr("stride", stride);
        call.attr("magnitude_squared", magnitude_squared).output()
    }
}
