use super::*;
use crate::proto::{AttrValue, CheckpointState, CollectionDef, GraphDef, MetaGraphDef, attr_value};

fn list(text: &str) -> Result<attr_value::ListValue> {
    parse(text)
}

#[test]
fn what_people_write_is_read() {
    let table = [
        ("", ""),
        (" # only a comment", ""),
        ("i: 1 # i: 2\nb: true", "i: 1\nb: true\n"),
        ("s: \"x\" 'y'\n \"z\"; i:-1,", "s: \"xyz\"\ni: -1\n"),
        ("i: [1, 2] i: []", "i: 1\ni: 2\n"),
        ("i: 0x1F i: 017 i: -0x10 i: - 2 i: 0", "i: 31\ni: 15\ni: -16\ni: -2\ni: 0\n"),
        ("f: .5 f: 1. f: -inf f: 2f f: 1e-5", "f: 0.5\nf: 1.0\nf: -inf\nf: 2.0\nf: 1e-05\n"),
        ("b: t b: False b: 1", "b: true\nb: false\nb: true\n"),
        ("type: DT_FLOAT type: 3 type: 55", "type: DT_FLOAT\ntype: DT_INT32\ntype: 55\n"),
        ("shape { dim < size: 2 > } shape: {}", "shape {\n  dim {\n    size: 2\n  }\n}\nshape {\n}\n"),
        ("shape: [{ unknown_rank: true }, < >]", "shape {\n  unknown_rank: true\n}\nshape {\n}\n"),
        (r#"s: "\x41\101\n\t\r\a\b\f\v\\\'\"\?\377""#, "s: \"AA\\n\\t\\r\\007\\010\\014\\013\\\\\\'\\\"?\\377\"\n"),
        (r#"s: "\303\251\u00e9\U0001F600\xc3\xa9""#, "s: \"\\303\\251\\303\\251\\360\\237\\230\\200\\303\\251\"\n"),
    ];
    for (input, expected) in table {
        assert_eq!(print(&list(input).unwrap()), expected, "{input}");
    }
}

#[test]
fn what_does_not_fit_is_refused_with_its_place() {
    let bad = [
        "i",
        "i 1",
        "i: ",
        "s: \"x",
        "s: \"x\ny\"",
        "s: \"\\q\"",
        "s: \"\\400\"",
        "s: \"\\u12\"",
        ":",
        "i: [1",
        "i: [1 2]",
        "i: 1.5",
        "i: 9223372036854775808",
        "i: 0x",
        "i: \"1\"",
        "s: 1",
        "b: 2",
        "type: DT_FLOATY",
        "shape {",
        "shape { dim { size: 1 size: 2 } }",
        "shape { dim { size: 1 > }",
        "nothing: 1",
        "[i: 1",
        "s: \"\\",
        "é: 1",
    ];
    for input in bad {
        assert!(list(input).is_err(), "{input}");
    }
    assert_eq!(list("i: 1\ns: \"x\n").unwrap_err().message(), "2:6 : expected the string's closing quote, got \"\\n\"");
    let error = list("i: 1\n nothing: 1").unwrap_err();
    assert_eq!(error.message(), "2:2 : expected a field of tensorflow.AttrValue.ListValue, got \"nothing: 1\"");
    let twice = parse::<AttrValue>("i: 1 f: 2").unwrap_err();
    assert_eq!(twice.message(), "1:6 : expected one value, but 'i' has been given, got \"f: 2\"");
    assert!(parse::<AttrValue>(&"list { tensor { ".repeat(100_000)).is_err());
    assert!(parse::<AttrValue>(&"func { attr { value { ".repeat(100_000)).is_err());
    assert!(parse::<CheckpointState>("model_checkpoint_path: '\\xff'").is_err());
}

#[test]
fn options_pass_over_what_is_not_known() {
    let options = ParseOptions { skip_unknown: true, last_counts: true };
    let text = "x { y: [1, {}] z: '}' } i: 1 u: [1, 'a', <b: 2>] v: DT i: 2";
    assert_eq!(print(&parse_with::<AttrValue>(text, options).unwrap()), "i: 2\n");
    assert!(parse_with::<AttrValue>("u: [[1]]", options).is_err());
}

#[test]
fn maps_and_any_are_written_as_tensorflow_does() {
    let text = r#"meta_info_def {
  tags: "n\303\251"
  function_aliases {
    key: "a"
    value: "\303\251"
  }
  function_aliases {
    key: "b"
  }
}
graph_def {
}
collection_def {
  key: "saved_model_assets"
  value {
    any_list {
      value {
        [type.googleapis.com/tensorflow.AssetFileDef] {
          filename: "foo.txt"
        }
      }
    }
  }
}
signature_def {
  key: "k"
  value {
  }
}
"#;
    let meta: MetaGraphDef = parse(text).unwrap();
    assert_eq!(print(&meta), text);
    let shown = print_as(&meta, Style::Str);
    assert!(shown.contains("tags: \"né\""), "{shown}");
    assert!(shown.contains("    key: \"b\"\n    value: \"\"\n"), "{shown}");
    assert!(
        shown.contains(
            "        type_url: \"type.googleapis.com/tensorflow.AssetFileDef\"\n        value: \"\\022\\007foo.txt\"\n"
        )
    );
    assert_eq!(parse::<MetaGraphDef>(&shown).unwrap(), meta);
    let unknown = "any_list {\n  value {\n    type_url: \"type.googleapis.com/foo.Bar\"\n    value: \"x\"\n  }\n}\n";
    assert_eq!(print(&parse::<CollectionDef>(unknown).unwrap()), unknown);
    assert!(parse::<CollectionDef>("any_list { value { [type.googleapis.com/foo.Bar] { } } }").is_err());
}

#[test]
fn floats_of_each_style() {
    let value: AttrValue = parse("list { f: 0.1 f: 1 f: nan }").unwrap();
    let shown =
        |style| print_as(&value, style).lines().filter_map(|l| l.trim().strip_prefix("f: ")).collect::<Vec<_>>().join(" ");
    assert_eq!(shown(Style::MessageToString), "0.1 1.0 nan");
    assert_eq!(shown(Style::WriteGraph), "0.10000000149011612 1.0 nan");
    assert_eq!(shown(Style::Str), "0.1 1 nan");
}

#[test]
fn either_form_is_told_by_its_bytes() {
    let graph: GraphDef = parse("node { name: 'a' op: 'NoOp' }").unwrap();
    for bytes in [graph.encode_to_vec(), print(&graph).into_bytes()] {
        assert_eq!(decode_either::<GraphDef>(bytes.into()).unwrap(), graph);
    }
    assert!(decode_either::<GraphDef>("no graph".into()).is_err());
    assert!(decode_either::<GraphDef>(bytes::Bytes::from_static(b"\xff\xff\xff")).is_err());
}
