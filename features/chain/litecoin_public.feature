Feature: Real nodes of another chain are synced to peers that somebody else runs

  The same questions as on any other chain, put to `litecoind`: who asks has a user and a password,
  and the header of a block is checked against its id, so that a peer cannot make one up.

  Background:
    Given the application is "litecoin"
    And 3 nodes that somebody else runs

  Scenario: A node downloads the chain and follows it
    When I run the harness on this feature:
      """
      Feature: Public
        Scenario: A node joins
          Given the application is "litecoin"
          And I have public cryptarchia endpoint peers:
            | public_cryptarchia_endpoint | username           | password               |
            | env(THEIRS_1_URL)           | env(THEIRS_1_USER) | env(THEIRS_1_PASSWORD) |
            | env(THEIRS_2_URL)           | env(THEIRS_2_USER) | env(THEIRS_2_PASSWORD) |
            | env(THEIRS_3_URL)           | env(THEIRS_3_USER) | env(THEIRS_3_PASSWORD) |
          And we join an external network
          And I have initial peers:
            | initial_peer       |
            | env(THEIRS_1_PEER) |
          And a cluster of 1 node
          Then I wait for all nodes to be synced to the chain in 60 seconds
          When I record node "NODE_1" height as "synced"
          Then node "NODE_1" reaches 3 blocks beyond recorded height "synced" in 60 seconds
          And I wait for all nodes to be synced to the chain
      """
    Then the exit code is 0
    And the nodes that somebody else runs never noticed

  Scenario: A peer that forges headers is outvoted, and two of them leave nobody to follow
    Given somebody else has THEIRS_2 forge its headers
    When I run the harness on this feature:
      """
      Feature: Public
        Scenario: A forger
          Given the application is "litecoin"
          And I have public cryptarchia endpoint peers:
            | public_cryptarchia_endpoint | username           | password               |
            | env(THEIRS_1_URL)           | env(THEIRS_1_USER) | env(THEIRS_1_PASSWORD) |
            | env(THEIRS_2_URL)           | env(THEIRS_2_USER) | env(THEIRS_2_PASSWORD) |
            | env(THEIRS_3_URL)           | env(THEIRS_3_USER) | env(THEIRS_3_PASSWORD) |
          And we join an external network
          And I have initial peers:
            | initial_peer       |
            | env(THEIRS_1_PEER) |
          And a cluster of 1 node
          Then I wait for all nodes to be synced to the chain in 60 seconds
      """
    Then the exit code is 0
    Given somebody else has THEIRS_3 forge its headers
    When I run the harness on this feature:
      """
      Feature: Public
        Scenario: Forgers
          Given the application is "litecoin"
          And I have public cryptarchia endpoint peers:
            | public_cryptarchia_endpoint | username           | password               |
            | env(THEIRS_1_URL)           | env(THEIRS_1_USER) | env(THEIRS_1_PASSWORD) |
            | env(THEIRS_2_URL)           | env(THEIRS_2_USER) | env(THEIRS_2_PASSWORD) |
            | env(THEIRS_3_URL)           | env(THEIRS_3_USER) | env(THEIRS_3_PASSWORD) |
          And we join an external network
          And I have initial peers:
            | initial_peer       |
            | env(THEIRS_1_PEER) |
          And a cluster of 1 node
          Then I wait for all nodes to be synced to the chain in 6 seconds
      """
    Then the exit code is 1
    And it prints "the hash of the header is "

  Scenario: A node that nobody told of the others is not synced
    When I run the harness on this feature:
      """
      Feature: Public
        Scenario: Alone
          Given the application is "litecoin"
          And I have public cryptarchia endpoint peers:
            | public_cryptarchia_endpoint | username           | password               |
            | env(THEIRS_1_URL)           | env(THEIRS_1_USER) | env(THEIRS_1_PASSWORD) |
            | env(THEIRS_2_URL)           | env(THEIRS_2_USER) | env(THEIRS_2_PASSWORD) |
            | env(THEIRS_3_URL)           | env(THEIRS_3_USER) | env(THEIRS_3_PASSWORD) |
          And we join an external network
          And a cluster of 1 node
          When I mine 2 blocks on NODE_1
          Then I wait for all nodes to be synced to the chain in 4 seconds
      """
    Then the exit code is 1
    And it prints "a node is on a branch that leaves the chain of "
