Feature: A node goes on from its own store

  What a node had before it went down it has after, and not because others gave it back: where that
  is the promise, nobody who could give it runs, or all who do refuse the node.

  Background:
    Given the application is "devchain"
    And the cluster uses cryptarchia security parameter 8
    And we have a sponsored genesis fee account with 100 tokens of 1000 value each
    And the genesis block has the following wallet resources:
      | account_index | token_count | token_amount |
      | 1             | 20          | 100          |
      | 2             | 1           | 100          |
    And I start nodes with wallet resources:
      | node_name | account_index | wallet_name | connected_to   |
      | NODE_1    | 1             | ALICE       |                |
      | NODE_2    | 2             | BOB         | NODE_1         |
      | NODE_3    |               |             | NODE_1, NODE_2 |

  Scenario: Killed under load, and back with everything
    When I send 5 transactions of 10 LGO each from wallet "ALICE" to wallet "BOB"
    And I kill NODE_3
    And I send 5 transactions of 10 LGO each from wallet "ALICE" to wallet "BOB"
    And I start NODE_3
    And I send 5 transactions of 10 LGO each from wallet "ALICE" to wallet "BOB"
    Then wallet "ALICE" has all submitted transactions included in 30 seconds
    And wallet "BOB" has exactly 250 LGO in 20 seconds
    And all nodes converged to within 1 blocks in 20 seconds

  Scenario: Killed while nobody speaks with it, and back with its own blocks
    Given all nodes have at least 3 blocks and converged to within 1 blocks in 30 seconds
    When these nodes and the others refuse each other as peers:
      | node_name |
      | NODE_3    |
    And I record the tip of node "NODE_3" as "shown"
    And I kill NODE_3
    And I start NODE_3
    Then node "NODE_3" has the recorded block "shown" on its chain in 10 seconds

  Scenario: All nodes are killed and started again
    Given all nodes share the same LIB at or above height 2 in 60 seconds
    And I record the LIB of node "NODE_1" as "final"
    When I kill NODE_1
    And I kill NODE_2
    And I kill NODE_3
    And I start the stopped nodes
    Then node "NODE_1" has the recorded block "final" on its chain in 10 seconds
    And node "NODE_2" has the recorded block "final" on its chain in 10 seconds
    And node "NODE_3" has the recorded block "final" on its chain in 10 seconds
    And I record node "NODE_2" height as "back"
    And node "NODE_2" reaches 2 blocks beyond recorded height "back" in 30 seconds
    And all nodes converged to within 1 blocks in 20 seconds

  Scenario: Blocks that are final are the same ones after a restart
    Given all nodes share the same LIB at or above height 3 in 60 seconds
    And I record the LIB of node "NODE_1" as "final"
    When I stop all nodes
    And I start node "NODE_1"
    Then node "NODE_1" has its LIB at or above height 3
    And node "NODE_1" has the recorded block "final" on its chain in 10 seconds
    When I start the stopped nodes
    And I restart all nodes one after the other
    Then all nodes share the same LIB at or above height 4 in 40 seconds
    And node "NODE_3" has the recorded block "final" on its chain in 10 seconds

  Scenario: A node that is stopped is left out, and back after a restart
    When I stop node "NODE_3"
    Then all nodes have at least 4 blocks and converged to within 1 blocks in 30 seconds
    When I start node "NODE_3"
    And I restart node "NODE_2"
    Then all nodes have at least 6 blocks and converged to within 1 blocks in 30 seconds

  Scenario: A new node begins with what another one saved
    Given all nodes have at least 4 blocks and converged to within 1 blocks in 40 seconds
    And these nodes and the others refuse each other as peers:
      | node_name |
      | NODE_3    |
    And I record the tip of node "NODE_3" as "saved"
    When I create a snapshot "early" of node "NODE_3"
    And I stop all nodes
    And I will initialize started nodes from snapshot "early" source node "NODE_3"
    And I start node "NODE_4"
    Then node "NODE_4" has the recorded block "saved" on its chain in 10 seconds
    When I start the stopped nodes
    Then all nodes have at least 6 blocks and converged to within 1 blocks in 30 seconds

  Scenario: What one node saved when it was stopped is given to another one
    Given all nodes have at least 2 blocks and converged to within 1 blocks in 40 seconds
    And I create a snapshot "all" of all nodes
    And these nodes and the others refuse each other as peers:
      | node_name |
      | NODE_1    |
    And NODE_1 and NODE_2 are on branches of at least 1 blocks in 30 seconds
    And I record the tip of node "NODE_1" as "of NODE_1 alone"
    And node "NODE_2" has not the recorded block "of NODE_1 alone" on its chain
    When I will create a snapshot "end" of all nodes when stopping
    And I stop all nodes
    Then NODE_1 is stopped
    When I restore NODE_2 from snapshot "end" of NODE_1
    And I start node "NODE_2"
    Then node "NODE_2" has the recorded block "of NODE_1 alone" on its chain in 10 seconds
    When I start the stopped nodes
    Then all nodes converged to within 1 blocks in 30 seconds
