//! The keeper on a board in memory, with time that passes only when it is told to.

use tokio::time::advance;

use super::{super::MemoryBoard, *};

const TTL: Duration = Duration::from_secs(9);
const TURN: Duration = Duration::from_secs(3);

struct Node {
    board: Arc<MemoryBoard>,
    keeper: Keeper,
    tenures: BTreeMap<ShardId, Tenure>,
    /// The epochs of the shards that it took, in order.
    taken: Vec<(ShardId, u64)>,
}

impl Node {
    fn new(name: &str, shards: u32, board: MemoryBoard) -> Self {
        let board = Arc::new(board);
        let options = KeeperOptions {
            member: Member::starting(name, None),
            layout: ShardLayout::new(shards, &[]).unwrap(),
            ttl: TTL,
            preferred: BTreeSet::new(),
            alone: false,
        };
        Self {
            keeper: Keeper::new(Arc::clone(&board) as _, options),
            board,
            tenures: BTreeMap::new(),
            taken: Vec::new(),
        }
    }

    /// Takes a turn, and does at once what it says.
    async fn turn(&mut self) {
        let (turns, _) = self.keeper.turn().await;
        for turn in turns {
            match turn {
                Turn::Taken(shard, tenure) => {
                    self.taken.push((shard, tenure.epoch()));
                    self.tenures.insert(shard, tenure);
                }
                Turn::Lost(shard) => {
                    self.tenures.remove(&shard);
                }
                Turn::GiveUp(shard) => {
                    self.tenures.remove(&shard);
                    let _ = self.keeper.release(shard).await;
                }
            }
        }
    }

    fn holds(&self, shard: ShardId) -> bool {
        self.tenures.get(&shard).is_some_and(Tenure::holds)
    }

    fn shards(&self) -> Vec<u32> {
        let held = self.tenures.iter().filter(|(_, tenure)| tenure.holds());
        held.map(|(shard, _)| shard.number()).collect()
    }
}

fn cluster(shards: u32, names: &[&str]) -> Vec<Node> {
    let board = MemoryBoard::default();
    names
        .iter()
        .map(|name| Node::new(name, shards, board.for_another()))
        .collect()
}

/// Lets all `nodes` take a turn, `turns` times, with the usual time between.
async fn turns(nodes: &mut [Node], turns: usize) {
    for _ in 0..turns {
        for node in &mut *nodes {
            node.turn().await;
        }
        advance(TURN).await;
    }
}

fn counts(nodes: &[Node]) -> Vec<usize> {
    nodes.iter().map(|node| node.shards().len()).collect()
}

#[tokio::test(start_paused = true)]
async fn nodes_that_are_there_have_equal_shares_and_a_new_one_gets_its_own() {
    let mut nodes = cluster(6, &["a", "b"]);
    turns(&mut nodes, 3).await;
    assert_eq!(counts(&nodes), [3, 3]);
    let board = nodes[0].board.for_another();
    nodes.push(Node::new("c", 6, board));
    turns(&mut nodes, 3).await;
    assert_eq!(counts(&nodes), [2, 2, 2]);
    let epochs = nodes[2].taken.iter().map(|(_, epoch)| *epoch);
    assert_eq!(
        epochs.collect::<Vec<_>>(),
        [2, 2],
        "each had one owner before"
    );
}

#[tokio::test(start_paused = true)]
async fn what_is_let_go_is_taken_at_the_next_turn_and_what_is_not_when_it_has_run_out() {
    let mut nodes = cluster(2, &["a", "b"]);
    turns(&mut nodes, 3).await;
    let mut gone = nodes.remove(0);
    gone.keeper.leave();
    let (shard, _) = gone.tenures.pop_first().unwrap();
    gone.keeper.release(shard).await.unwrap();
    gone.keeper.depart().await.unwrap();
    nodes[0].turn().await;
    assert_eq!(nodes[0].shards(), [0, 1]);

    // The next one says nothing.
    let board = nodes[0].board.for_another();
    nodes.push(Node::new("c", 2, board));
    turns(&mut nodes, 3).await;
    assert_eq!(counts(&nodes), [1, 1]);
    let dead = nodes.pop().unwrap();
    let lost = dead.taken[0].0;
    let died = Instant::now();
    while !nodes[0].holds(lost) {
        assert!(died.elapsed() < TTL + 2 * TURN, "it is taken in time");
        assert!(nodes[0].shards().len() == 1);
        turns(&mut nodes, 1).await;
    }
    assert!(died.elapsed() + TURN > TTL, "and not before it has run out");
}

#[tokio::test(start_paused = true)]
async fn a_node_that_leaves_a_board_that_does_not_answer_asks_it_once() {
    let mut nodes = cluster(6, &["a"]);
    turns(&mut nodes, 3).await;
    let mut leaving = nodes.remove(0);
    let mut shards = leaving.tenures.keys().copied();
    // What it was not told before says nothing of the board as it is later.
    leaving.board.cut(true);
    let first = shards.next().unwrap();
    assert!(leaving.keeper.release(first).await.is_err());
    leaving.board.cut(false);
    leaving.keeper.leave();
    let second = shards.next().unwrap();
    leaving.keeper.release(second).await.unwrap();

    let before = leaving.board.asked_in_vain();
    leaving.board.cut(true);
    for shard in shards {
        assert!(leaving.keeper.release(shard).await.is_err());
    }
    assert!(leaving.keeper.depart().await.is_err());
    assert_eq!(leaving.board.asked_in_vain(), before + 1);
    assert!(leaving.shards().is_empty(), "it does not work on them");
}

#[tokio::test(start_paused = true)]
async fn an_owner_that_is_cut_off_stops_before_another_may_begin() {
    let mut nodes = cluster(1, &["a", "b"]);
    turns(&mut nodes, 2).await;
    let (owner, other) = if nodes[0].shards().is_empty() {
        (1, 0)
    } else {
        (0, 1)
    };
    let shard = ShardId::default();
    nodes[owner].board.cut(true);
    let mut free_for = Duration::ZERO;
    while !nodes[other].holds(shard) {
        nodes[owner].turn().await;
        nodes[other].turn().await;
        assert!(!(nodes[owner].holds(shard) && nodes[other].holds(shard)));
        if !nodes[owner].holds(shard) {
            free_for += Duration::from_millis(100);
        }
        advance(Duration::from_millis(100)).await;
    }
    assert!(
        free_for + Duration::from_millis(200) >= TTL / 5,
        "{free_for:?}"
    );
    // Back again, it finds another owner, and does not fight it.
    nodes[owner].board.cut(false);
    turns(&mut nodes, 4).await;
    assert!(nodes[other].holds(shard));
    assert!(nodes[owner].shards().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_lost_answer_does_not_cost_a_shard() {
    let mut nodes = cluster(1, &["a"]);
    turns(&mut nodes, 2).await;
    for _ in 0..5 {
        nodes[0].board.lose_next_answer();
        turns(&mut nodes, 1).await;
    }
    assert_eq!(nodes[0].taken, [(ShardId::default(), 1)]);
    assert_eq!(nodes[0].shards(), [0]);
}

#[tokio::test(start_paused = true)]
async fn a_shard_that_was_taken_without_an_answer_is_taken_again_with_a_higher_epoch() {
    let mut nodes = cluster(1, &["a"]);
    turns(&mut nodes, 1).await;
    // The first write of the turn says that the node is there.
    let node = &mut nodes[0];
    let key = node.keeper.keys.shard(ShardId::default());
    let lease = Lease {
        owner: Some(node.keeper.options.member.clone()),
        epoch: 7,
        since_ms: 0,
        ttl_ms: 9_000,
        failed_by: None,
    };
    node.board.post(&key, lease.encode(), None).await.unwrap();
    node.turn().await;
    assert_eq!(node.taken, [(ShardId::default(), 8)]);
}

#[tokio::test(start_paused = true)]
async fn an_epoch_that_a_store_knows_is_outbid() {
    let mut nodes = cluster(1, &["a"]);
    nodes[0].keeper.outbid(ShardId::default(), 41);
    turns(&mut nodes, 2).await;
    assert_eq!(nodes[0].taken, [(ShardId::default(), 42)]);
}

#[tokio::test(start_paused = true)]
async fn nodes_that_are_long_gone_are_forgotten_and_leases_are_not() {
    let mut nodes = cluster(1, &["a", "b"]);
    turns(&mut nodes, 2).await;
    nodes.pop();
    turns(&mut nodes, 40).await;
    let posted = nodes[0].board.read().await.unwrap();
    let keys: Vec<_> = posted.iter().map(|posted| posted.key.as_str()).collect();
    let me = nodes[0].keeper.keys.node(&nodes[0].keeper.options.member);
    assert_eq!(keys, [me.as_str(), "1.shard.0"]);
}

#[tokio::test(start_paused = true)]
async fn a_key_that_cannot_be_removed_keeps_no_shard_from_being_taken() {
    let mut nodes = cluster(3, &["a", "b", "c"]);
    for node in &nodes {
        node.board.keep_keys();
    }
    turns(&mut nodes, 3).await;
    assert_eq!(counts(&nodes), [1, 1, 1]);
    nodes.remove(1);
    turns(&mut nodes, 40).await;
    assert_eq!(counts(&nodes).iter().sum::<usize>(), 3);
    nodes.pop();
    turns(&mut nodes, 5).await;
    assert_eq!(counts(&nodes), [3]);
}

#[tokio::test(start_paused = true)]
async fn a_shard_that_a_node_cannot_run_is_taken_by_another_one_even_above_its_share() {
    let mut nodes = cluster(4, &["a", "b"]);
    turns(&mut nodes, 4).await;
    assert_eq!(counts(&nodes), [2, 2]);
    let shard = *nodes[0].tenures.keys().last().unwrap();
    nodes[0].tenures.remove(&shard);
    nodes[0].keeper.fail(shard).await.unwrap();
    turns(&mut nodes, 4).await;
    assert!(nodes[1].holds(shard));
    assert_eq!(counts(&nodes), [2, 2], "another one was given for it");
    // It is not given back as long as there is anything else to give.
    turns(&mut nodes, 40).await;
    assert!(nodes[1].holds(shard));
}

#[tokio::test(start_paused = true)]
async fn a_shard_that_the_only_node_cannot_run_is_tried_again_after_a_while() {
    let mut nodes = cluster(1, &["a"]);
    turns(&mut nodes, 2).await;
    let shard = ShardId::default();
    nodes[0].tenures.remove(&shard);
    nodes[0].keeper.fail(shard).await.unwrap();
    turns(&mut nodes, 1).await;
    assert!(!nodes[0].holds(shard), "not at once");
    turns(&mut nodes, 4).await;
    assert!(nodes[0].holds(shard));
}

/// Nodes that are cut off, paused and brought back at random: at no moment do two of them hold a shard, and no epoch is used twice.
#[tokio::test(start_paused = true)]
async fn no_schedule_gives_a_shard_two_owners() {
    for seed in 0..100 {
        let mut rng = fastrand::Rng::with_seed(seed);
        let mut nodes = cluster(5, &["a", "b", "c", "d"]);
        let mut due = [Instant::now(); 4];
        for _ in 0..200 {
            let at = rng.usize(0..nodes.len());
            match rng.u32(0..40) {
                0 => nodes[at].board.cut(true),
                1..=3 => nodes[at].board.cut(false),
                4 => nodes[at].board.lose_next_answer(),
                // Stopped in its tracks for longer or shorter than a lease is good.
                5 => due[at] = Instant::now() + TTL.mul_f64(rng.f64() * 2.0),
                _ => {}
            }
            for (node, due) in nodes.iter_mut().zip(&mut due) {
                if *due <= Instant::now() {
                    node.turn().await;
                    *due = Instant::now() + TURN;
                }
            }
            check(&nodes, seed);
            advance(Duration::from_millis(rng.u64(1..2_000))).await;
            check(&nodes, seed);
        }
    }
}

#[track_caller]
fn check(nodes: &[Node], seed: u64) {
    for shard in nodes[0].keeper.options.layout.ids() {
        let owners = nodes.iter().filter(|node| node.holds(shard)).count();
        assert!(owners < 2, "seed {seed}: shard {shard} has {owners} owners");
    }
    let mut epochs: Vec<_> = nodes.iter().flat_map(|node| &node.taken).collect();
    let all = epochs.len();
    epochs.sort_unstable();
    epochs.dedup();
    assert_eq!(epochs.len(), all, "seed {seed}: an epoch was used twice");
}
