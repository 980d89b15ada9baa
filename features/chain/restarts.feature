Feature: A node goes on from its own store

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

  Scenario: All nodes are killed and started again
    Given all nodes have at least 4 blocks and converged to within 1 blocks in 30 seconds
    And I record node "NODE_1" height as "before"
    When I kill NODE_1
    And I kill NODE_2
    And I kill NODE_3
    And I start the stopped nodes
    Then node "NODE_2" reaches 2 blocks beyond recorded height "before" in 30 seconds
    And all nodes converged to within 1 blocks in 20 seconds

  Scenario: Blocks that are final are the same ones after a restart
    Given all nodes share the same LIB at or above height 3 in 60 seconds
    When I restart all nodes one after the other
    Then node "NODE_1" has its LIB at or above height 3
    And all nodes share the same LIB at or above height 4 in 40 seconds

  Scenario: A new node begins with what another one saved
    Given all nodes have at least 6 blocks and converged to within 1 blocks in 40 seconds
    And I record node "NODE_3" height as "saved"
    When I create a snapshot "early" of node "NODE_3"
    And I will initialize started nodes from snapshot "early" source node "NODE_3"
    And I start node "NODE_4"
    Then node "NODE_4" reaches 3 blocks beyond recorded height "saved" in 30 seconds
    And all nodes converged to within 1 blocks in 20 seconds

  Scenario: A snapshot of all nodes is one moment
    When I create a snapshot "all" of all nodes
    And I will create a snapshot "end" of all nodes when stopping
    And I stop all nodes
    Then NODE_1 is stopped
    When I restore NODE_2 from snapshot "end" of NODE_1
    And I start the stopped nodes
    Then all nodes converged to within 1 blocks in 20 seconds
