//! Static shapes that follow from values which are known in part, as TensorFlow infers them.

use crate::program::Program;
use metagraph::Graph;

/// A program, and the shape that is inferred of its last node's last output.
const SHAPES: &[(&str, &str)] = &[
    ("Fill(Enter(frame_name='f'; i32[2 3]), f32 1)", "[2,3]"),
    ("x = Placeholder(dtype=f32, shape=shape[2, ?, 5];)\nFill(Shape(x), f32 1)", "[2,?,5]"),
    ("x = Placeholder(dtype=f32, shape=shape[2, ?, 5];)\nFill(Cast(DstT=i64; Shape(x)), f32 1)", "[2,?,5]"),
    ("x = Placeholder(dtype=f32, shape=shape[2, ?, 5];)\nFill(StridedSlice(Shape(x), i32[0], i32[3], i32[2]), f32 1)", "[2,5]"),
    (
        "x = Placeholder(dtype=f32, shape=shape[2, ?, 5];)\nFill(StridedSlice(Shape(x), i32[-1], i32[-4], i32[-2]), f32 1)",
        "[5,2]",
    ),
    ("x = Placeholder(dtype=f32, shape=shape[2, ?, 5];)\nFill(ConcatV2((i32[7], Shape(x)), i32 0), f32 1)", "[7,2,?,5]"),
    (
        "x = Placeholder(dtype=f32, shape=shape[2, ?, 5];)\n\
         n = StridedSlice(shrink_axis_mask=1; Shape(x), i32[-1], i32[0], i32[1])\nRange(i32 0, Mul(n, i32 2), i32 1)",
        "[10]",
    ),
    (
        "x = Placeholder(dtype=f32, shape=shape[2, ?, 5];)\n\
         n = StridedSlice(shrink_axis_mask=1; Shape(x), i32[1], i32[2], i32[1])\nRange(i32 0, n, i32 1)",
        "[?]",
    ),
    ("x = Placeholder(dtype=f32, shape=shape[2, ?];)\ns = ShapeN((x, x))\nFill(s:1, f32 1)", "[2,?]"),
    ("h = VarHandleOp(dtype=f32, shape=shape[2, ?];)\nFill(VariableShape(h), f32 1)", "[2,?]"),
    ("p = PlaceholderWithDefault(shape=shape[2]; i32[2 3])\nFill(p, f32 1)", "[?,?]"),
    ("l = TensorListReserve(element_dtype=f32; i32[2 -1], i32 3)\nTensorListStack(element_dtype=f32; l, i32 -1)", "[?,2,?]"),
    (
        "l = TensorListReserve(element_dtype=f32; i32[2 -1], i32 3)\nTensorListGetItem(element_dtype=f32; l, i32 0, i32[-1 5])",
        "[2,5]",
    ),
    ("l = TensorListReserve(element_dtype=f32; i32[2 -1], i32 3)\nTensorListElementShape(shape_type=i32; l)", "[2]"),
    (
        "def more(x f32) = AddV2(x, f32 1)\ndef small(x f32) = Less(x, f32 9)\n\
         x = Placeholder(dtype=f32, shape=shape[];)\nWhile(cond=small, body=more; (x))",
        "[]",
    ),
];

#[test]
fn shapes_follow_from_what_is_known() {
    for (text, expected) in SHAPES {
        let g = Graph::new();
        Program::build(&g, text).unwrap();
        let last = *g.get_operations().last().unwrap();
        let shape = g.shape(*g.outputs(last).last().unwrap()).unwrap();
        assert_eq!(shape.to_string(), *expected, "{text}");
    }
}
