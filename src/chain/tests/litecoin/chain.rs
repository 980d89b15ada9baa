//! Chain: one node's blocks, by id, by height, by ancestry, and as they come.

use std::time::Duration;

use bitcoin_regtest::{Flavour, NodeOptions, RegtestNode};
use futures::StreamExt as _;
use trellis_chain::{
    AncestryEnd, BlockAnswer, BlockId, ChainSource as _, Header, HeaderCheck, Mode, RangeUnit,
    SourceErrorKind, TxId,
    bitcoin::{BitcoinSource, RpcAuth, RpcConfig, RpcLimits, TxPlace},
};

use crate::network::{Node, WITHIN, config, limits};

const GENESIS: &str = "530827f38f93b43ed12af0b3ad25a288dc02ed74d6d7857862df51fc56c416f9";

pub(crate) async fn a_node_is_known_by_its_genesis_block_and_has_no_peer_id() {
    let node = Node::start("N1").await;
    assert_eq!(node.source.shape().to_string(), "bitcoin-rpc");

    let identity = node.source.identity().await.unwrap();
    assert_eq!(identity.chain_id.as_deref(), Some("regtest"));
    assert_eq!(identity.genesis.unwrap().to_string(), GENESIS);
    assert_eq!(identity.peer_id, None);
    assert!(
        identity
            .protocol
            .unwrap()
            .starts_with("70016 /LitecoinCore:")
    );
    assert!(node.source.shape().to_string().contains("LitecoinCore"));

    // Nobody knows of these, in the same words of the wire for blocks and transactions.
    let nothing = BlockId::from_bytes([7; 32]);
    assert_eq!(node.source.header(nothing).await.unwrap(), None);
    assert_eq!(
        node.source.block(nothing).await.unwrap(),
        BlockAnswer::Unknown
    );
    let end = AncestryEnd {
        until: None,
        headers_max: 5,
    };
    assert_eq!(node.source.ancestry(nothing, end).await.unwrap(), []);
    let nothing = TxId::from_bytes([7; 32]);
    assert_eq!(
        node.rpc().tx_place(nothing).await.unwrap(),
        TxPlace::Unknown
    );

    node.mine(120).await;
    let head = node.source.head().await.unwrap();
    assert_eq!((head.height, head.mode), (120, Mode::Online));
    let finalised = head.finalised.unwrap();
    assert_eq!(finalised.height, Some(20));
    assert_eq!(Some(finalised.id), node.rpc().block_hash(20).await.unwrap());
    let shallow = node.source.clone().with_finality_depth(Some(1000));
    let finalised = shallow.head().await.unwrap().finalised.unwrap();
    assert_eq!(finalised.id.to_string(), GENESIS);
    let without = node.source.clone().with_finality_depth(None);
    assert_eq!(without.head().await.unwrap().finalised, None);
}

pub(crate) async fn batches_give_the_same_ancestry_as_one_call_a_block() {
    let node = Node::start("N1").await;
    node.mine(130).await;
    let tip = node.tip().await;
    let mut one_by_one: Vec<Header> = Vec::new();
    let mut next = Some(tip);
    while let Some(id) = next {
        let header = node.source.header(id).await.unwrap().unwrap();
        next = header.parent;
        one_by_one.push(header);
    }
    assert_eq!(one_by_one.len(), 131);
    assert_eq!(one_by_one[130].parent, None);

    for batch_calls_max in [1, 2, 7, 200] {
        let source = with_limits(
            &node,
            RpcLimits {
                batch_calls_max,
                ..limits()
            },
        );
        let of = async |from: usize, until: Option<usize>, headers_max| {
            let until = until.map(|index| one_by_one[index].id);
            let end = AncestryEnd { until, headers_max };
            source.ancestry(one_by_one[from].id, end).await.unwrap()
        };
        assert_eq!(of(0, None, usize::MAX).await, one_by_one);
        assert_eq!(of(3, None, 40).await, one_by_one[3..43]);
        assert_eq!(of(0, Some(1), 500).await, one_by_one[..2]);
        assert_eq!(of(5, Some(90), 500).await, one_by_one[5..=90]);
        assert_eq!(of(5, Some(90), 20).await, one_by_one[5..25]);
        assert_eq!(of(9, Some(9), 20).await, one_by_one[9..10]);
        // An end that is above is never met.
        assert_eq!(of(100, Some(20), 500).await, one_by_one[100..]);
        assert_eq!(of(100, None, 0).await, []);
    }
}

pub(crate) async fn blocks_by_height_are_whole_and_end_with_the_chain() {
    let node = Node::start("N1").await;
    let mined = node.mine(20).await;
    let source = with_limits(
        &node,
        RpcLimits {
            batch_blocks_max: 3,
            ..limits()
        },
    );
    assert_eq!(source.range_unit(), Some(RangeUnit::Height));

    let all = source.range(0, 1000).await.unwrap();
    let ids: Vec<_> = all.iter().skip(1).map(|block| block.header.id).collect();
    assert_eq!(ids, mined);
    assert_eq!(all[0].header.id.to_string(), GENESIS);
    assert_eq!(source.range(5, 7).await.unwrap(), all[5..=7]);
    // A block is of some 2 KB, so that no more than three fit.
    let of_size = |answer_bytes_max| RpcLimits {
        answer_bytes_max,
        ..limits()
    };
    let narrow = with_limits(&node, of_size(7_000));
    assert_eq!(narrow.range(0, 20).await.unwrap(), all);
    let too_narrow = with_limits(&node, of_size(1_000)).range(0, 20).await;
    assert!(matches!(
        too_narrow.unwrap_err().kind,
        SourceErrorKind::TooLarge { bytes_max: 1_000 }
    ));
    assert_eq!(source.range(18, 20).await.unwrap(), all[18..]);
    assert_eq!(source.range(21, 30).await.unwrap(), []);
    assert_eq!(
        source.block(mined[6]).await.unwrap(),
        BlockAnswer::Found(all[7].clone())
    );
    assert_eq!(all[7].header.height, Some(7));
    assert!(all[7].header.time_ms.unwrap() > 1_600_000_000_000);
}

pub(crate) async fn headers_are_checked_by_calculation() {
    let node = Node::start("N1").await;
    let mined = node.mine(2).await;
    let header = node.source.header(mined[1]).await.unwrap().unwrap();
    let genesis = node.rpc().block_hash(0).await.unwrap().unwrap();
    let genesis = node.source.header(genesis).await.unwrap().unwrap();
    for honest in [&header, &genesis] {
        let checked = node.source.check_header(honest).await.unwrap();
        assert_eq!(checked, HeaderCheck::Consistent);
    }

    let lie = Header::new(header.id, Some(genesis.id));
    let checked = node.source.check_header(&lie).await.unwrap();
    assert!(matches!(checked, HeaderCheck::Forged { .. }));
}

pub(crate) async fn new_blocks_are_streamed_by_waiting() {
    let node = Node::start("N1").await;
    let before = node.mine(1).await;
    // A wait that ends in vain tells the tip and no error.
    let brief = Duration::from_millis(20);
    let seen = node.rpc().wait_for_new_block(brief).await.unwrap();
    assert_eq!((seen.hash, seen.height), (before[0], 1));

    let mut blocks = node.source.stream().await.unwrap().unwrap();
    for _ in 0..2 {
        let mined = node.mine(1).await;
        // What came between two looks is not lost.
        let streamed = tokio::time::timeout(WITHIN, blocks.next()).await;
        let streamed = streamed.unwrap().unwrap().unwrap();
        assert_eq!(streamed.block.header.id, mined[0]);
        assert_eq!(streamed.tip, Some(mined[0]));
        assert_eq!(streamed.block.transactions.len(), 1);
    }
}

pub(crate) async fn mining_goes_on_beyond_the_height_of_the_extension_blocks() {
    let without = Flavour {
        config: "",
        ..Flavour::litecoin()
    };
    let process = RegtestNode::start(&without, &NodeOptions::default()).unwrap();
    let auth = RpcAuth::CookieFile(process.cookie_file());
    let source = BitcoinSource::new(config(&process, "WITHOUT", auth)).unwrap();
    let without = Node { process, source };
    without.ready().await;
    let with = Node::start("WITH").await;

    with.mine(440).await;
    assert_eq!(with.source.head().await.unwrap().height, 440);

    let wallet = without.rpc().open_wallet("miner").await.unwrap();
    let address = wallet.new_address().await.unwrap();
    let refused = without.rpc().generate_to_address(440, &address).await;
    let refused = refused.unwrap_err().to_string();
    assert!(refused.contains("bad-txns-vin-empty"), "{refused}");
    assert_eq!(without.source.head().await.unwrap().height, 431);
}

fn with_limits(node: &Node, limits: RpcLimits) -> BitcoinSource {
    let auth = RpcAuth::CookieFile(node.process.cookie_file());
    let config = config(&node.process, "LIMITED", auth);
    BitcoinSource::new(RpcConfig { limits, ..config }).unwrap()
}
