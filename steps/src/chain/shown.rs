//! Shown: a view of the chain as people read it, a line a node.

use std::fmt::Write as _;

use trellis_chain::{ChainView, NodeView, Place, Reorg};

/// The heads of all nodes, and what is known beyond them.
pub(crate) fn shown(view: &ChainView) -> String {
    let mut text = match view.best_head() {
        Some(best) => format!("best head {}", place(&best)),
        None => "no head is known".to_owned(),
    };
    if let Some(common) = &view.common_final {
        write!(text, ", final for all {}", place(common)).expect("a String takes any text");
    }
    for node in view.nodes.values() {
        write!(text, "\n  {}", line(node)).expect("a String takes any text");
    }
    if let Some(progress) = &view.catch_up {
        write!(text, "\n  catching up: {} blocks so far", progress.blocks)
            .expect("a String takes any text");
    }
    text
}

fn line(node: &NodeView) -> String {
    let name = &node.name;
    if !node.observed {
        return format!("{name}: not running");
    }
    if let Some(why) = &node.failing {
        return format!("{name}: no answer ({why})");
    }
    let Some(head) = &node.reported else {
        return format!("{name}: not asked yet");
    };
    let mut text = format!(
        "{name}: {}, height {} ({:.8})",
        head.mode,
        head.height,
        head.tip.to_string()
    );
    match &node.finalised {
        Some(last) => write!(text, ", final {}", place(last)),
        None => write!(text, ", nothing final"),
    }
    .expect("a String takes any text");
    if node.current_tip().is_none() {
        text.push_str(", which is not fetched yet");
    }
    if let Some(shape) = &node.shape {
        write!(text, "; by {shape}").expect("a String takes any text");
    }
    if let Some(why) = &node.contradiction {
        write!(text, "; it contradicts itself: {why}").expect("a String takes any text");
    }
    text
}

/// Who left how much for what.
pub(crate) fn shown_reorg(reorg: &Reorg) -> String {
    format!(
        "{} left {} blocks: its head moved from {} to {}, above {}",
        reorg.node,
        reorg.depth(),
        place(&reorg.from),
        place(&reorg.to),
        place(&reorg.common_ancestor)
    )
}

/// A block as height and beginning of its id.
pub(crate) fn place(place: &Place) -> String {
    format!("{} ({:.8})", place.height, place.id.to_string())
}
