//! NodeDef and its attributes against the message as the descriptors have it.

use super::attr_value::Value;
use super::{AttrValue, Attrs, GraphDef, NodeDef, TensorProto, text};
use prost::Message;
use prost_reflect::{DescriptorPool, DynamicMessage};

fn int(value: i64) -> AttrValue {
    AttrValue { value: Some(Value::I(value)) }
}

fn texts(attrs: &Attrs) -> Vec<String> {
    attrs.iter().map(|(name, value)| format!("{name}={:?}", value.value)).collect()
}

/// A length-delimited field.
fn field(tag: u8, bytes: &[u8]) -> Vec<u8> {
    let mut out = vec![tag << 3 | 2];
    prost::encoding::encode_varint(bytes.len() as u64, &mut out);
    [out, bytes.to_vec()].concat()
}

/// An entry of a NodeDef's attributes: the key and an integer.
fn entry(key: &str, value: u8) -> Vec<u8> {
    field(5, &[field(1, key.as_bytes()), field(2, &[3 << 3, value])].concat())
}

#[test]
fn a_map_by_name() {
    let mut attrs = Attrs::new();
    assert!(attrs.is_empty() && attrs.get("a").is_none() && attrs.remove("a").is_none() && attrs.iter_mut().next().is_none());
    assert_eq!(attrs.insert("b".into(), int(1)), None);
    assert_eq!(attrs.insert("a".into(), int(2)), None);
    assert_eq!(attrs.insert("b".into(), int(3)), Some(int(1)));
    assert_eq!(texts(&attrs), ["a=Some(I(2))", "b=Some(I(3))"]);
    assert_eq!((attrs.len(), &attrs["b"]), (2, &int(3)));
    attrs.values_mut().for_each(|v| *v = int(4));
    attrs.extend([("c", int(5)), ("d", int(6))]);
    attrs.retain(|name, value| name != "a" && *value != int(5));
    assert_eq!(texts(&attrs), ["b=Some(I(4))", "d=Some(I(6))"]);
    assert_eq!(attrs, Attrs::from([("d", int(6)), ("b", int(4))]));
    assert_eq!(attrs.clone().into_iter().map(|a| a.0).collect::<Vec<_>>(), ["b", "d"]);
    assert_eq!((attrs.remove("b"), attrs.remove("d")), (Some(int(4)), Some(int(6))));
    assert_eq!(attrs, Attrs::new());
}

#[test]
fn a_clone_keeps_what_the_original_changes() {
    let mut attrs = Attrs::from([("a", int(1)), ("b", int(2))]);
    let before = attrs.clone();
    assert!(attrs.is_same(&before) && attrs.shared_key() == before.shared_key());
    *attrs.get_mut("a").unwrap() = int(7);
    attrs.remove("b");
    assert_eq!((texts(&before).len(), texts(&attrs)), (2, vec!["a=Some(I(7))".to_string()]));
    assert!(!attrs.is_same(&before) && attrs.shared_key().is_none());
}

#[test]
fn equal_attributes_are_read_once() {
    let node = |value: i64| {
        let attr = [("T", AttrValue { value: Some(Value::Type(1)) }), ("n", int(value))].into();
        NodeDef { name: format!("n{value}"), op: "Op".into(), attr, ..Default::default() }
    };
    let graph = GraphDef { node: vec![node(1), node(2), node(1)], ..Default::default() };
    let read = GraphDef::decode(graph.encode_to_vec().as_slice()).unwrap();
    assert_eq!(read, graph);
    assert!(read.node[0].attr.is_same(&read.node[2].attr) && !read.node[0].attr.is_same(&read.node[1].attr));
    let mut changed = read.node[0].clone();
    changed.attr.insert("n".into(), int(9));
    assert_eq!((&read.node[0], &read.node[2]), (&node(1), &node(1)));
    assert_eq!(GraphDef::decode(graph.encode_to_vec().as_slice()).unwrap(), graph);
}

#[test]
fn bytes_are_those_of_the_descriptors() {
    let pool = DescriptorPool::decode(super::FILE_DESCRIPTOR_SET).unwrap();
    let descriptor = pool.get_message_by_name("tensorflow.NodeDef").unwrap();
    let large = TensorProto { tensor_content: vec![7; 1000].into(), ..Default::default() };
    let nodes = [
        NodeDef::default(),
        text::parse("name: 'a' op: 'Mul' input: 'x' input: '^y' device: '/cpu:0' attr { key: 'T' value { type: DT_FLOAT } }")
            .unwrap(),
        text::parse(
            "attr { key: '' } attr { key: 'z' } attr { key: '' value { b: false } } experimental_type { type_id: TFT_ARRAY }
            experimental_debug_info { original_node_names: 'a' original_func_names: 'f' }",
        )
        .unwrap(),
        NodeDef { attr: [("value", AttrValue { value: Some(Value::Tensor(large)) })].into(), ..Default::default() },
        NodeDef { attr: (0..40).map(|i| (format!("a{}", 39 - i), int(i))).collect(), ..Default::default() },
    ];
    for node in nodes {
        let bytes = node.encode_to_vec();
        assert_eq!(bytes.len(), node.encoded_len());
        assert_eq!(NodeDef::decode(bytes.as_slice()).unwrap(), node);
        // In parts, as a chain of buffers gives them.
        let parts = bytes::Buf::chain(&bytes[..bytes.len() / 2], &bytes[bytes.len() / 2..]);
        assert_eq!(NodeDef::decode(parts).unwrap(), node);
        let theirs = DynamicMessage::decode(descriptor.clone(), bytes.as_slice()).unwrap();
        assert_eq!(theirs.transcode_to::<NodeDef>().unwrap(), node);
        assert_eq!(text::parse::<NodeDef>(&text::print(&node)).unwrap(), node);
    }
}

#[test]
fn the_last_of_one_name_counts() {
    for _ in 0..2 {
        let bytes = [entry("a", 1), entry("b", 2), entry("a", 3), entry("a", 3)].concat();
        assert_eq!(texts(&NodeDef::decode(bytes.as_slice()).unwrap().attr), ["a=Some(I(3))", "b=Some(I(2))"]);
    }
}

#[test]
fn fields_that_are_not_known_are_passed_over() {
    let within = field(5, &[field(9, b"what"), field(1, b"a"), field(2, &[3 << 3, 1]), vec![12 << 3, 5]].concat());
    let bytes = [field(11, b"else"), within, field(1, b"n")].concat();
    let node = NodeDef::decode(bytes.as_slice()).unwrap();
    assert_eq!((node.name.as_str(), texts(&node.attr)), ("n", vec!["a=Some(I(1))".to_string()]));
}

#[test]
fn malformed_bytes_are_refused() {
    let good = entry("a", 1);
    let deep = (0..200).fold(field(2, &[3 << 3, 1]), |inner, _| field(2, &field(10, &field(2, &inner))));
    let rows: [(&str, Vec<u8>, &str); 8] = [
        ("cut off", good[..good.len() - 1].to_vec(), "NodeDef.attr: buffer underflow"),
        ("no length", good[..1].to_vec(), "NodeDef.attr: invalid varint"),
        ("a number", vec![5 << 3, 1], "NodeDef.attr: invalid wire type"),
        ("a key that isn't text", field(5, &field(1, &[0xff])), "invalid string value: data is not UTF-8 encoded"),
        ("a value that is longer", field(5, &[2 << 3 | 2, 9, 3 << 3]), "delimited length exceeded"),
        ("a field without a number", field(5, &[2]), "invalid tag value: 0"),
        ("a name that isn't text", field(1, &[0xff]), "NodeDef.name: invalid string value"),
        ("deep", field(5, &deep), "recursion limit reached"),
    ];
    for (what, bytes, expected) in rows {
        for _ in 0..2 {
            let error = NodeDef::decode(bytes.as_slice()).map(|_| ()).unwrap_err().to_string();
            assert!(
                error.contains(expected) || what == "a value that is longer" && error.contains("underflow"),
                "{what}: {error}"
            );
        }
        let error = GraphDef::decode(field(1, &bytes).as_slice());
        assert!(error.is_err(), "{what}");
    }
}

#[test]
fn many_attributes_take_no_more_than_their_time() {
    let bytes: Vec<u8> = (0..30_000).rev().flat_map(|i| entry(&format!("{i:05}"), 1)).collect();
    let node = NodeDef::decode(bytes.as_slice()).unwrap();
    assert_eq!((node.attr.len(), node.attr.keys().next().map(String::as_str)), (30_000, Some("00000")));
}
