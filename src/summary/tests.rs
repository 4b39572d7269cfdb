use super::*;
use crate::graph::keys;
use crate::proto::event::What;
use crate::proto::summary::value::Value;
use crate::proto::{Event, SessionLog, Summary};
use crate::{Code, Graph, Session, Tensor};
use prost::Message;

/// Nodes as TensorFlow 2.15 makes them for the same calls.
#[test]
fn nodes_are_those_of_tensorflow() {
    let g = Graph::new();
    let x = g.named("x").constant([[1f32, 2.0]]).unwrap();
    scalar(&g, "loss", x).unwrap();
    let family = SummaryOptions { family: Some("fam".into()), ..SummaryOptions::default() };
    scalar_with(&g, "bad name!/x", 2i32, &family).unwrap();
    histogram(&g, "h", x).unwrap();
    audio(&g, "au", x, 8000f32).unwrap();
    text(&g, "t", "hi").unwrap();
    let merged = merge_all(&g).unwrap().unwrap();
    merge(&g.named("foo"), &[merged]).unwrap();
    {
        let _scope = g.name_scope("sc").unwrap();
        scalar(&g, "/loss", x).unwrap();
    }
    let def = g.as_graph_def();
    let shown: Vec<String> =
        def.node.iter().map(|n| format!("{} {} {}", n.name, n.op, n.input.join(",")).trim().to_string()).collect();
    let expected = [
        "x Const",
        "loss/tags Const",
        "loss ScalarSummary loss/tags,x",
        "fam/bad_name_/x/tags Const",
        "fam/bad_name_/x/values Const",
        "fam/bad_name_/x ScalarSummary fam/bad_name_/x/tags,fam/bad_name_/x/values",
        "h/tag Const",
        "h HistogramSummary h/tag,x",
        "au/sample_rate Const",
        "au/tag Const",
        "au AudioSummaryV2 au/tag,x,au/sample_rate",
        "Const Const",
        "t/tag Const",
        "t/serialized_summary_metadata Const",
        "t TensorSummaryV2 t/tag,Const,t/serialized_summary_metadata",
        "Merge/MergeSummary MergeSummary loss,fam/bad_name_/x,h,au,t",
        "foo/foo MergeSummary Merge/MergeSummary",
        "sc/loss/tags Const",
        "sc/loss ScalarSummary sc/loss/tags,x",
    ];
    assert_eq!(shown, expected);
    assert_eq!(g.get_collection(keys::SUMMARIES).len(), 6);
    assert_eq!(merge_all_in(&g, "none", None).unwrap(), None);
}

#[test]
fn summaries_are_messages() {
    let g = Graph::new();
    let family = SummaryOptions { family: Some("fam".into()), ..SummaryOptions::default() };
    let a = scalar_with(&g, "a b", 2i32, &family).unwrap();
    let pixels = Tensor::new(&[2, 1, 2, 3], vec![0u8, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11]).unwrap();
    let b = image(&g, "b", pixels).unwrap();
    let c = audio(&g, "c", Tensor::new(&[1, 2], vec![0.5f32, -0.5]).unwrap(), 44100f32).unwrap();
    let merged = merge(&g, &[a, b, c]).unwrap();
    let session = Session::new(&g);
    let out = session.run(&[merged], &[]).unwrap();
    let summary = Summary::decode(out[0].strings().unwrap()[0].clone()).unwrap();
    let tags: Vec<&str> = summary.value.iter().map(|v| v.tag.as_str()).collect();
    assert_eq!(tags, ["fam/fam/a_b", "b/image/0", "b/image/1", "c/audio/0"]);
    let Some(Value::Image(image)) = &summary.value[2].value else { panic!("{:?}", summary.value[2]) };
    let mut reader = png::Decoder::new(std::io::Cursor::new(&image.encoded_image_string)).read_info().unwrap();
    let mut pixels = vec![0; reader.output_buffer_size().unwrap()];
    reader.next_frame(&mut pixels).unwrap();
    assert_eq!(pixels, [6, 7, 8, 9, 10, 11]);
    let twice = merge(&g, &[a, a]).unwrap();
    assert_eq!(session.run(&[twice], &[]).unwrap_err().code(), Code::InvalidArgument);
    for wrong in [f32::NAN, f32::INFINITY] {
        let h = histogram(&g, "h", wrong).unwrap();
        assert_eq!(session.run(&[h], &[]).unwrap_err().code(), Code::InvalidArgument);
    }
}

#[test]
fn events_are_written_and_read() {
    let logdir = std::env::temp_dir().join(format!("metagraph-summary-test-{}", std::process::id()));
    std::fs::remove_dir_all(&logdir).ok();
    let g = Graph::new();
    let t = text(&g, "t", "hi").unwrap();
    let message = Session::new(&g).run(&[t], &[]).unwrap().remove(0);
    let writer = FileWriter::with_graph(&logdir, &g).unwrap();
    writer.add_summary(&message, Some(3)).unwrap();
    writer.add_summary(&message, Some(4)).unwrap();
    writer.add_session_log(SessionLog { status: 1, ..SessionLog::default() }, Some(5)).unwrap();
    writer.add_run_metadata(b"", "run", None).unwrap();
    assert_eq!(writer.add_run_metadata(b"", "run", None).unwrap_err().code(), Code::AlreadyExists);
    assert_eq!(writer.add_summary(&b"\xff"[..], None).unwrap_err().code(), Code::InvalidArgument);
    writer.close().unwrap();
    assert_eq!(writer.add_summary(&message, None).unwrap_err().code(), Code::FailedPrecondition);
    let name = writer.path().file_name().unwrap().to_str().unwrap();
    assert!(name.starts_with("events.out.tfevents.1") && name["events.out.tfevents.".len()..].contains('.'), "{name}");
    let events: Vec<Event> = summary_iterator(writer.path()).unwrap().collect::<crate::Result<_>>().unwrap();
    let kind = |event: &Event| match event.what.as_ref().unwrap() {
        What::FileVersion(version) => version.clone(),
        What::GraphDef(bytes) => format!("graph of {}", crate::proto::GraphDef::decode(bytes.clone()).unwrap().node.len()),
        What::MetaGraphDef(_) => "meta".into(),
        What::Summary(s) => format!("summary {} {}", s.value[0].tag, s.value[0].metadata.is_some()),
        What::SessionLog(log) => format!("log {}", log.status),
        _ => "other".into(),
    };
    let shown: Vec<String> = events.iter().map(|e| format!("{} {}", e.step, kind(e))).collect();
    let expected = ["0 brain.Event:2", "0 graph of 4", "0 meta", "3 summary t true", "4 summary t false", "5 log 1", "0 other"];
    assert_eq!(shown, expected);
    std::fs::remove_dir_all(&logdir).unwrap();
}

#[test]
fn records_that_are_cut_or_changed_are_told() {
    let mut bytes = Vec::new();
    let mut writer = RecordWriter::new(&mut bytes);
    writer.write(b"hello").unwrap();
    writer.write(b"").unwrap();
    let read = |bytes: &[u8]| -> crate::Result<Vec<Vec<u8>>> {
        let mut reader = RecordReader::new(bytes);
        let mut records = Vec::new();
        while let Some(record) = reader.next()? {
            records.push(record);
        }
        Ok(records)
    };
    assert_eq!(read(&bytes).unwrap(), [b"hello".to_vec(), Vec::new()]);
    for end in 0..bytes.len() {
        assert_eq!(read(&bytes[..end]).is_ok(), end == 0 || end == 21, "{end}");
    }
    for at in 0..bytes.len() {
        let mut changed = bytes.clone();
        changed[at] ^= 1;
        assert_eq!(read(&changed).unwrap_err().code(), Code::DataLoss, "{at}");
    }
}
