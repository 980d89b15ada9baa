Feature: Wallets on a network of others are funded by its faucet

  A faucet pays 1000 LGO a round here.

  Background:
    Given the application is "devchain"
    And 2 nodes that somebody else runs
    And a faucet that somebody else runs

  Scenario: One wallet, those that the scenario named, those of nodes, and all
    When I run the harness on this feature:
      """
      Feature: Faucet
        Scenario: Rounds
          Given the application is "devchain"
          And I have a devnet cluster with capacity of 2 nodes
          And I have public cryptarchia endpoint peers:
            | public_cryptarchia_endpoint | username | password |
            | env(THEIRS_1_URL)           |          |          |
            | env(THEIRS_2_URL)           |          |          |
          And I have initial peers:
            | initial_peer       |
            | env(THEIRS_1_PEER) |
            | env(THEIRS_2_PEER) |
          And I have a faucet with URL "env(THEIRS_FAUCET_URL)" username "env(THEIRS_FAUCET_USER)" and password "env(THEIRS_FAUCET_PASSWORD)"
          And I start nodes with wallet resources:
            | node_name | account_index | wallet_name | connected_to |
            | NODE_1    | 1             | ALICE       |              |
            | NODE_2    | 2             | BOB         | NODE_1       |
          When I request 2 rounds of faucet funds for wallet "ALICE"
          Then wallet "ALICE" has exactly 2 outputs and exactly 2000 LGO in 30 seconds
          When I request 1 rounds of faucet funds for all user wallets
          Then wallet "ALICE" has exactly 3000 LGO in 30 seconds
          And wallet "BOB" has exactly 1000 LGO in 30 seconds
          When I request 1 rounds of faucet funds for all funding wallets
          Then wallet "NODE_1_WALLET" has exactly 1000 LGO in 30 seconds
          And wallet "NODE_2_WALLET" has exactly 1000 LGO in 30 seconds
          When I request 2 rounds of faucet funds for all wallets
          Then wallet "BOB" has exactly 3000 LGO in 30 seconds
          And wallet "NODE_2_WALLET" has exactly 3000 LGO in 30 seconds
          When I send 1 transactions of 500 LGO each from wallet "ALICE" to wallet "BOB"
          Then wallet "BOB" has exactly 3500 LGO in 30 seconds
      """
    Then the exit code is 0
    And the nodes that somebody else runs never noticed

  Scenario: A faucet that asks nobody who they are, and one that does
    When I run the harness on this feature:
      """
      Feature: Faucet
        Background:
          Given the application is "devchain"
          And I have a devnet cluster with capacity of 1 nodes
          And I have public cryptarchia endpoint peers:
            | public_cryptarchia_endpoint | username | password |
            | env(THEIRS_1_URL)           |          |          |
          And I have initial peers:
            | initial_peer       |
            | env(THEIRS_1_PEER) |
          And I start nodes with wallet resources:
            | node_name | account_index | wallet_name | connected_to |
            | NODE_1    | 1             | ALICE       |              |

        Scenario: Open
          Given I have a faucet with URL "env(THEIRS_OPEN_FAUCET_URL)"
          When I request 1 rounds of faucet funds for wallet "ALICE"
          Then wallet "ALICE" has 1000 or more LGO in 30 seconds

        Scenario: Guarded
          Given I have a faucet with URL "env(THEIRS_FAUCET_URL)"
          When I request 3 rounds of faucet funds for wallet "ALICE"
      """
    Then the exit code is 1
    And it prints "1 passed"
    And it prints "round 1 of 3, the faucet at "
    And it prints "this faucet wants a user and a password (status 401"

  Scenario: A URL with a password in it is not taken
    When I run the harness on this feature:
      """
      Feature: Faucet
        Scenario: In the URL
          Given the application is "devchain"
          And I have a faucet with URL "http://me:secret@127.0.0.1:1"
      """
    Then the exit code is 1
    And it prints "credentials"

  Scenario: An application whose chain has no faucets is told so before anything starts
    When I run the harness on this feature:
      """
      Feature: Faucet
        Scenario: None here
          Given the application is "litecoin"
          And I have a faucet with URL "http://127.0.0.1:1"
      """
    Then the exit code is 2
    And it prints "the chain of litecoin has no faucets that this step could ask"
