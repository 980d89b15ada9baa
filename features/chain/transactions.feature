Feature: Value moves on the chain, and only as it may

  Background:
    Given the application is "devchain"
    And the cluster uses cryptarchia security parameter 6

  Rule: Who pays has less, who is paid has more

    Background:
      Given we have a sponsored genesis fee account with 200 tokens of 1000 value each
      And the genesis block has the following wallet resources:
        | account_index | token_count | token_amount |
        | 1             | 1           | 100000       |
        | 2             | 1           | 100          |
      And I start nodes with wallet resources:
        | node_name | account_index | wallet_name | connected_to |
        | NODE_1    | 1             | ALICE       |              |
        | NODE_2    | 2             | BOB         | NODE_1       |

    Scenario: A coin is split, and its parts are sent
      When I do a coin split for "ALICE" of 20 UTXOs valued at 100 LGO tokens each
      Then wallet "ALICE" has 21 or more outputs in 20 seconds
      And wallet "ALICE" has 21 or more outputs and exactly 100000 LGO in 20 seconds
      When I send 20 transactions of 50 LGO each from wallet "ALICE" to wallet "BOB"
      Then wallet "BOB" has exactly 1100 LGO in 30 seconds
      And wallet "ALICE" has exactly 99000 LGO in 30 seconds
      And wallet "ALICE" has 0 or less encumbered outputs in 20 seconds
      And wallet "ALICE" has all submitted transactions settled in 60 seconds
      And tracked wallet fees equal sponsored fee account spent fees
      And I verify each wallet has minimum 1 outputs "available" in 10 seconds
      And I log wallet balances for all wallets

    Scenario: Many outputs in one transaction
      When I send one transaction with 30 outputs of 10 LGO each from wallet "ALICE" to wallet "BOB"
      Then wallet "BOB" has exactly 31 outputs in 20 seconds
      And wallet "BOB" has exactly 400 LGO in 5 seconds
      And wallet "BOB" has exactly 31 outputs and exactly 400 LGO in 5 seconds
      And wallet "BOB" has 31 or less outputs in 5 seconds
      And wallet "BOB" has 31 or more outputs and 400 or more LGO in 5 seconds
      And wallet "BOB" has 31 or less outputs and 400 or less LGO in 5 seconds

    Scenario: Something is written into the chain
      When I submit inscription transaction "words" of 24 KiB from wallet "ALICE"
      Then transaction "words" is included on node "NODE_2" in 20 seconds
      And wallet "ALICE" has exactly 100000 LGO in 5 seconds

    Scenario: The same bytes at several nodes are one transaction
      When I prepare transfer transaction "once" of 70 LGO from wallet "ALICE" to wallet "BOB"
      And I submit prepared transaction "once" to nodes:
        | node_name |
        | NODE_1    |
        | NODE_2    |
      Then transaction "once" is included on node "NODE_1" in 20 seconds
      And transaction "once" is not pending in mempool of all nodes in 20 seconds
      And transaction "once" remains not pending in mempool of all nodes for 3 blocks in 30 seconds
      And wallet "BOB" has exactly 170 LGO in 10 seconds

    Scenario: What is not valid comes to nothing
      When I submit invalid transfer transaction "forged" to node "NODE_1"
      And I try to submit invalid transaction "forged" to node "NODE_2"
      Then transaction "forged" is not included for 3 blocks in 60 seconds
      And transaction "forged" is not pending in mempool of all nodes in 5 seconds
      And wallet "ALICE" has exactly 100000 LGO in 5 seconds

  Rule: It goes around among many

    Scenario: Transfers over ten nodes
      Given we have a sponsored genesis fee account with 400 tokens of 1000 value each
      And the genesis block has the following wallet resources:
        | account_index | token_count | token_amount |
        | 1             | 40          | 100          |
        | 2             | 40          | 100          |
        | 3             | 40          | 100          |
      And I start nodes with wallet resources:
        | node_name | account_index | wallet_name | connected_to   |
        | NODE_1    | 1             | W1          |                |
        | NODE_2    | 2             | W2          | NODE_1         |
        | NODE_3    | 3             | W3          | NODE_1, NODE_2 |
        | NODE_4    |               |             | NODE_2, NODE_3 |
        | NODE_5    |               |             | NODE_2, NODE_3 |
        | NODE_6    |               |             | NODE_4, NODE_5 |
        | NODE_7    |               |             | NODE_4, NODE_5 |
        | NODE_8    |               |             | NODE_6, NODE_7 |
        | NODE_9    |               |             | NODE_6, NODE_7 |
        | NODE_10   |               |             | NODE_8, NODE_9 |
      When I perform 1 coin split transactions for each user wallet with 5 outputs of 20 LGO each
      And I send 30 transactions of 10 LGO each from wallet "W1" to wallet "W2"
      And I send 30 transactions of 10 LGO each from wallet "W2" to wallet "W3"
      And I send 30 transactions of 10 LGO each from wallet "W3" to wallet "W1"
      Then wallet "W1" has all submitted transactions included in 60 seconds
      And wallet "W2" has all submitted transactions included in 60 seconds
      And wallet "W3" has all submitted transactions included in 60 seconds
      And wallet "W1" has exactly 4000 LGO in 20 seconds
      And all nodes converged to within 2 blocks in 30 seconds

  Rule: Fees come out of a wallet where nobody else pays them

    Scenario: A wallet pays its own fees
      Given the genesis block has the following wallet resources:
        | account_index | token_count | token_amount |
        | 1             | 1           | 100000       |
        | 2             | 1           | 100          |
      And I start nodes with wallet resources:
        | node_name | account_index | wallet_name | connected_to |
        | NODE_1    | 1             | ALICE       |              |
        | NODE_2    | 2             | BOB         | NODE_1       |
      When I send 1 transactions of 1000 LGO each from wallet "ALICE" to wallet "BOB"
      Then wallet "BOB" has exactly 1100 LGO in 20 seconds
      And wallet "ALICE" has 98999 or less LGO in 10 seconds
      And wallet "ALICE" has 98000 or more LGO in 10 seconds

  Rule: What nobody saw is not taken for what did not happen

    Scenario: Nothing was sent, and nobody could be asked
      When I run the harness on this feature:
        """
        Feature: Unseen
          Background:
            Given the application is "devchain"
            And the genesis block has the following wallet resources:
              | account_index | token_count | token_amount |
              | 1             | 2           | 1000         |
            And I start nodes with wallet resources:
              | node_name | account_index | wallet_name | connected_to |
              | NODE_1    | 1             | ALICE       |              |

          Scenario: Nothing was sent
            Then wallet "ALICE" has all submitted transactions settled in 5 seconds

          Scenario: Nobody could be asked
            When I prepare transfer transaction "never" of 10 LGO from wallet "ALICE" to wallet "ALICE"
            And I stop all nodes
            Then transaction "never" is not included in 1 seconds
        """
      Then the exit code is 1
      And it prints "nothing was handed in for wallet ALICE"
      And it prints "staying out of all chains could not be seen"
