Feature: Chains that grow apart become one again, and what is final is never left

  Two sides that do not hear of each other make blocks of their own. When they meet, the longer
  branch wins: who had the other one leaves its blocks, and what was in them waits again. What had
  become final before they met stays, whatever the others have.

  Background:
    Given the application is "devchain"
    And we have a sponsored genesis fee account with 50 tokens of 1000 value each
    And the genesis block has the following wallet resources:
      | account_index | token_count | token_amount |
      | 1             | 4           | 1000         |
      | 2             | 4           | 1000         |

  Rule: Branches that are not final yet are left for a longer one

    Background:
      Given the cluster uses cryptarchia security parameter 200
      And we will have distinct node groups to query wallet balances:
        | group_name | node_name |
        | the many   | NODE_1    |
        | the many   | NODE_2    |
        | the many   | NODE_3    |
        | the one    | NODE_4    |
      And I start nodes with wallet resources:
        | node_name | account_index | wallet_name | connected_to   |
        | NODE_1    | 1             | ALICE       |                |
        | NODE_2    |               |             | NODE_1         |
        | NODE_3    |               |             | NODE_1, NODE_2 |
        | NODE_4    | 2             | BOB         | NODE_1         |
      And all nodes have at least 2 blocks and converged to within 1 blocks in 30 seconds
      And these nodes and the others refuse each other as peers:
        | node_name |
        | NODE_4    |
      And I record node "NODE_4" height as "split"

    Scenario: A reorg is seen, balances are kept, and lost transactions come back
      When I submit funded transfer transaction "lonely" of 300 LGO from wallet "BOB" to wallet "ALICE"
      Then transaction "lonely" is included on node "NODE_4" in 30 seconds
      And node "NODE_4" reaches 2 blocks beyond recorded height "split" in 40 seconds
      And I record the tip of node "NODE_4" as "lost"
      # Three make blocks here and one does there, so that this side is the longer one by far.
      And node "NODE_1" reaches 16 blocks beyond recorded height "split" in 60 seconds
      And NODE_1 and NODE_4 are on branches of at least 4 blocks in 10 seconds
      And node "NODE_1" has not the recorded block "lost" on its chain
      When all nodes accept each other as peers again
      Then node "NODE_4" leaves the recorded block "lost" in a reorg of at least 2 blocks in 30 seconds
      And all nodes converged to within 1 blocks in 30 seconds
      And node "NODE_4" has not the recorded block "lost" on its chain
      And transaction "lonely" is included on node "NODE_1" in 30 seconds
      And wallet "ALICE" has exactly 4300 LGO in 20 seconds
      And wallet "BOB" has exactly 3700 LGO in 20 seconds

    Scenario: A wallet is read from the chain of its own group
      When I send 1 transactions of 300 LGO each from wallet "BOB" to wallet "ALICE"
      Then wallet "BOB" has exactly 3700 LGO in 30 seconds
      And wallet "BOB" has all submitted transactions included in 10 seconds
      And node "NODE_1" reaches 3 blocks beyond recorded height "split" in 30 seconds
      And wallet "ALICE" has exactly 4000 LGO in 10 seconds
      When all nodes accept each other as peers again
      Then wallet "ALICE" has exactly 4300 LGO in 30 seconds
      And wallet "BOB" has exactly 3700 LGO in 20 seconds

  Rule: Blocks that are final stay, however long the other branch is

    Scenario: Two sides that were apart for longer than k blocks stay apart
      Given the cluster uses cryptarchia security parameter 4
      And I have deployment config override "block_time_ms" as "150"
      And I start nodes with wallet resources:
        | node_name | account_index | wallet_name | connected_to   |
        | NODE_1    | 1             | ALICE       |                |
        | NODE_2    |               |             | NODE_1         |
        | NODE_3    |               |             | NODE_1, NODE_2 |
        | NODE_4    | 2             | BOB         | NODE_1         |
      And all nodes have at least 2 blocks and converged to within 1 blocks in 30 seconds
      When these nodes and the others refuse each other as peers:
        | node_name |
        | NODE_4    |
      And I record node "NODE_4" height as "split"
      And node "NODE_4" reaches 6 blocks beyond recorded height "split" in 60 seconds
      And node "NODE_1" reaches 12 blocks beyond recorded height "split" in 60 seconds
      And I record the LIB of node "NODE_4" as "final for the one"
      And I record the LIB of node "NODE_1" as "final for the many"
      And all nodes accept each other as peers again
      And node "NODE_4" has at least 1 peers within 20 seconds
      And I record node "NODE_4" height as "joined"
      Then node "NODE_4" reaches 4 blocks beyond recorded height "joined" in 60 seconds
      And node "NODE_4" has the recorded block "final for the one" on its chain in 5 seconds
      And node "NODE_1" has the recorded block "final for the many" on its chain in 5 seconds
      And node "NODE_4" has not the recorded block "final for the many" on its chain
