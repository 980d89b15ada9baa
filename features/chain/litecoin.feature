Feature: Real nodes of another chain: litecoind on regtest

  Blocks come when they are asked for, a reward can be spent a hundred blocks later, and wallets
  are the nodes' own. One coin is 100000000 of the smallest unit, which is what LGO is here.

  Background:
    Given the application is "litecoin"

  Rule: Nodes keep one chain

    Background:
      Given a cluster of 3 nodes

    @smoke
    Scenario: Blocks of one node reach all
      Given node "NODE_1" is exactly at height 0
      When I mine 5 blocks on NODE_1
      Then all nodes have at least 5 blocks and converged to within 0 blocks in 30 seconds
      And node "NODE_3" is exactly at height 5
      And node "NODE_1" has at least 2 peers within 10 seconds
      And I query cryptarchia info for all nodes

    Scenario: The chain grows past the height where extension blocks would begin
      When I mine 440 blocks on NODE_1
      Then all nodes have at least 440 blocks and converged to within 0 blocks in 60 seconds
      And all nodes share the same LIB at or above height 340 in 10 seconds

    Scenario: Stopped and killed nodes go on with what the others made
      When I mine 10 blocks on NODE_1
      And all nodes have at least 10 blocks and converged to within 0 blocks in 30 seconds
      And I stop NODE_2
      And I kill NODE_3
      And I mine 5 blocks on NODE_1
      And I start NODE_2
      And I start NODE_3
      Then all nodes have at least 15 blocks and converged to within 0 blocks in 60 seconds
      When I mine 1 blocks on NODE_3
      Then node "NODE_1" is at height 16 in 20 seconds

    Scenario: A new node begins with what another one saved
      Given I mine 20 blocks on NODE_1
      And all nodes have at least 20 blocks and converged to within 0 blocks in 30 seconds
      And I record the tip of node "NODE_2" as "saved"
      When I create a snapshot "early" of node "NODE_2"
      And I stop all nodes
      And I will initialize started nodes from snapshot "early" source node "NODE_2"
      And I start node "NODE_4"
      Then node "NODE_4" has the recorded block "saved" on its chain in 20 seconds
      When I start the stopped nodes
      Then all nodes have at least 20 blocks and converged to within 0 blocks in 60 seconds

  Rule: Value moves

    Background:
      Given I start nodes with wallet resources:
        | node_name | account_index | wallet_name | connected_to   |
        | NODE_1    | 1             | ALICE       |                |
        | NODE_2    | 2             | BOB         | NODE_1         |
        | NODE_3    |               |             | NODE_1, NODE_2 |
      And I mine 2 blocks on NODE_1 for wallet "ALICE"
      And I mine 100 blocks on NODE_1
      And all nodes have at least 102 blocks and converged to within 0 blocks in 30 seconds

    Scenario: Who pays has less, who is paid has more
      Then wallet "ALICE" has exactly 10000000000 LGO in 20 seconds
      When I do a coin split for "ALICE" of 10 UTXOs valued at 10000000 LGO tokens each
      And I mine 1 blocks on NODE_2
      Then wallet "ALICE" has exactly 12 outputs in 20 seconds
      When I send 5 transactions of 1000000 LGO each from wallet "ALICE" to wallet "BOB"
      And I send one transaction with 3 outputs of 2000000 LGO each from wallet "ALICE" to wallet "BOB"
      And I submit funded transfer transaction "last" of 3000000 LGO from wallet "ALICE" to wallet "BOB"
      Then transaction "last" is pending in mempool of nodes in 20 seconds:
        | node_name |
        | NODE_1    |
        | NODE_2    |
        | NODE_3    |
      When I mine 1 blocks on NODE_1
      Then transaction "last" is included on node "NODE_3" in 20 seconds
      And wallet "ALICE" has all submitted transactions included in 20 seconds
      And wallet "BOB" has exactly 14000000 LGO in 20 seconds
      And wallet "ALICE" has exactly 9985200000 LGO in 20 seconds
      And transaction "last" is not pending in mempool of all nodes in 10 seconds

    Scenario: What is not valid comes to nothing
      When I submit invalid transfer transaction "forged" to node "NODE_1"
      And I try to submit invalid transaction "forged" to node "NODE_2"
      And I mine 1 blocks on NODE_1
      And all nodes have at least 103 blocks and converged to within 0 blocks in 30 seconds
      Then transaction "forged" is not included in 1 seconds
      And transaction "forged" is not pending in mempool of all nodes in 5 seconds

    Scenario: A fork of three blocks, its reorg, and the lost transaction back
      When these nodes and the others refuse each other as peers:
        | node_name |
        | NODE_3    |
      And I submit funded transfer transaction "lost" of 300000000 LGO from wallet "ALICE" to wallet "BOB"
      And I mine 3 blocks on NODE_1
      And I mine 4 blocks on NODE_3
      Then NODE_1 and NODE_3 are on branches of at least 3 blocks in 20 seconds
      And transaction "lost" is included on node "NODE_1" in 20 seconds
      And I record the tip of node "NODE_1" as "third"
      When all nodes accept each other as peers again
      Then a reorg of at least 3 blocks was seen in 60 seconds
      And node "NODE_1" leaves the recorded block "third" in a reorg of at least 3 blocks in 10 seconds
      And all nodes have at least 106 blocks and converged to within 0 blocks in 60 seconds
      And transaction "lost" is pending in mempool of nodes in 20 seconds:
        | node_name |
        | NODE_1    |
      And wallet "BOB" has exactly 0 LGO in 20 seconds
      When I mine 1 blocks on NODE_1
      Then transaction "lost" is included on node "NODE_3" in 20 seconds
      And wallet "BOB" has exactly 300000000 LGO in 20 seconds
