Feature: Chains that grow apart become one again

  Two sides that do not hear of each other make blocks of their own. When they meet, the longer
  branch wins: who had the other one leaves its blocks, and what was in them waits again.

  Background:
    Given the application is "devchain"
    And the cluster uses cryptarchia security parameter 60
    And we have a sponsored genesis fee account with 50 tokens of 1000 value each
    And the genesis block has the following wallet resources:
      | account_index | token_count | token_amount |
      | 1             | 4           | 1000         |
      | 2             | 4           | 1000         |
    And I start nodes with wallet resources:
      | node_name | account_index | wallet_name | connected_to   |
      | NODE_1    | 1             | ALICE       |                |
      | NODE_2    |               |             | NODE_1         |
      | NODE_3    |               |             | NODE_1, NODE_2 |
      | NODE_4    | 2             | BOB         | NODE_1         |
    And all nodes have at least 2 blocks and converged to within 1 blocks in 20 seconds

  Scenario: A reorg is seen, balances are kept, and lost transactions come back
    When these nodes and the others refuse each other as peers:
      | node_name |
      | NODE_4    |
    And I submit funded transfer transaction "lonely" of 300 LGO from wallet "BOB" to wallet "BOB"
    Then transaction "lonely" is included on node "NODE_4" in 20 seconds
    And NODE_1 and NODE_4 are on branches of at least 4 blocks in 40 seconds
    When all nodes accept each other as peers again
    Then a reorg of at least 1 blocks was seen in 30 seconds
    And all nodes converged to within 1 blocks in 30 seconds
    And transaction "lonely" is included on node "NODE_1" in 30 seconds
    And wallet "ALICE" has exactly 4000 LGO in 20 seconds
    And wallet "BOB" has exactly 4000 LGO in 20 seconds

  Scenario: What is final is never left
    Given node "NODE_1" is at height 10 in 30 seconds
    When these nodes and the others refuse each other as peers:
      | node_name |
      | NODE_3    |
      | NODE_4    |
    And NODE_1 and NODE_4 are on branches of at least 3 blocks in 40 seconds
    And all nodes accept each other as peers again
    Then all nodes converged to within 1 blocks in 30 seconds
    And all nodes have at least 12 blocks and converged to within 1 blocks in 20 seconds
