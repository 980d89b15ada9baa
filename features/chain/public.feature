Feature: Nodes are synced to a public chain, and nobody can make it look so

  The chain to follow is the one that a majority of all listed peers has, by ancestry. The "public"
  nodes here run outside the harness. What is wrong with them is said in words of its own, so that
  a red build names whom to ask: the nodes, the peers, or the list.

  Background:
    Given the application is "devchain"

  Rule: Nodes that follow the majority are synced

    @smoke
    Scenario: Nodes join the network and are synced
      Given 3 nodes that somebody else runs
      When I run the harness on this feature:
        """
        Feature: Public
          Scenario: Two nodes join
            Given the application is "devchain"
            And I have public cryptarchia endpoint peers:
              | public_cryptarchia_endpoint | username | password |
              | env(THEIRS_1_URL)           |          |          |
              | env(THEIRS_2_URL)           |          |          |
              | env(THEIRS_3_URL)           |          |          |
            And we join an external network
            And I have initial peers:
              | initial_peer       |
              | env(THEIRS_1_PEER) |
              | env(THEIRS_2_PEER) |
            And a cluster of 2 nodes
            Then I wait for all nodes to be synced to the chain in 30 seconds
            When I record node "NODE_1" height as "synced"
            Then node "NODE_1" reaches 5 blocks beyond recorded height "synced" in 30 seconds
            And I wait for all nodes to be synced to the chain
        """
      Then the exit code is 0
      And the nodes that somebody else runs never noticed
      And nothing of that run is left

    Scenario: One peer of three lies about the network and is outvoted
      Given 2 nodes that somebody else runs
      And 1 node that somebody else runs
      When I run the harness on this feature:
        """
        Feature: Public
          Scenario: A liar
            Given the application is "devchain"
            And I have public cryptarchia endpoint peers:
              | public_cryptarchia_endpoint | username | password |
              | env(THEIRS_1_URL)           |          |          |
              | env(THEIRS_2_URL)           |          |          |
              | env(THEIRS_3_URL)           |          |          |
            And we join an external network
            And I have initial peers:
              | initial_peer       |
              | env(THEIRS_1_PEER) |
            And a cluster of 1 node
            Then I wait for all nodes to be synced to the chain in 30 seconds
            When I kill node "NODE_1"
            And I start node "NODE_1"
            Then I wait for all nodes to be synced to the chain in 30 seconds
        """
      Then the exit code is 0

    Scenario: One peer of three boasts of blocks that nobody has and is outvoted
      Given 3 nodes that somebody else runs
      And somebody else has THEIRS_3 say that it is 1000000 blocks higher than it is
      When I run the harness on this feature:
        """
        Feature: Public
          Scenario: A boaster
            Given the application is "devchain"
            And I have public cryptarchia endpoint peers:
              | public_cryptarchia_endpoint | username | password |
              | env(THEIRS_1_URL)           |          |          |
              | env(THEIRS_2_URL)           |          |          |
              | env(THEIRS_3_URL)           |          |          |
            And we join an external network
            And I have initial peers:
              | initial_peer       |
              | env(THEIRS_1_PEER) |
            And a cluster of 1 node
            Then I wait for all nodes to be synced to the chain in 30 seconds
        """
      Then the exit code is 0

    Scenario: A slow download is shown as it goes, while the target moves on
      Given 3 nodes that somebody else runs
      And the nodes that somebody else runs serve blocks slowly
      When I run the harness on this feature:
        """
        Feature: Public
          Scenario: Slow
            Given the application is "devchain"
            And I have public cryptarchia endpoint peers:
              | public_cryptarchia_endpoint | username | password |
              | env(THEIRS_1_URL)           |          |          |
              | env(THEIRS_2_URL)           |          |          |
              | env(THEIRS_3_URL)           |          |          |
            And we join an external network
            And I have initial peers:
              | initial_peer       |
              | env(THEIRS_1_PEER) |
            And node "NODE_1" has user config override "leads" as "false"
            And a cluster of 1 node
            Then I wait for all nodes to be synced to the chain in 60 seconds
        """
      Then the exit code is 0
      And it prints " to go at "
      And it prints ", done in "

    Scenario: A node that is ahead of peers which stay where they are is synced
      Given 3 nodes that somebody else runs
      And the nodes that somebody else runs make no more blocks
      When I run the harness on this feature:
        """
        Feature: Public
          Scenario: Ahead
            Given the application is "devchain"
            And I have public cryptarchia endpoint peers:
              | public_cryptarchia_endpoint | username | password |
              | env(THEIRS_1_URL)           |          |          |
              | env(THEIRS_2_URL)           |          |          |
              | env(THEIRS_3_URL)           |          |          |
            And we join an external network
            And I have initial peers:
              | initial_peer       |
              | env(THEIRS_1_PEER) |
            And a cluster of 1 node
            Then I wait for all nodes to be synced to the chain in 30 seconds
            When I record node "NODE_1" height as "alone"
            Then node "NODE_1" reaches 3 blocks beyond recorded height "alone" in 30 seconds
            And I wait for all nodes to be synced to the chain in 30 seconds
        """
      Then the exit code is 0

  Rule: Without a majority there is nothing to be synced to

    Scenario: Too few peers can be reached
      Given 3 nodes that somebody else runs
      And somebody else kills THEIRS_2
      And somebody else kills THEIRS_3
      When I run the harness on this feature:
        """
        Feature: Public
          Scenario: One of three
            Given the application is "devchain"
            And I have public cryptarchia endpoint peers:
              | public_cryptarchia_endpoint | username | password |
              | env(THEIRS_1_URL)           |          |          |
              | env(THEIRS_2_URL)           |          |          |
              | env(THEIRS_3_URL)           |          |          |
            And we join an external network
            And I have initial peers:
              | initial_peer       |
              | env(THEIRS_1_PEER) |
            And a cluster of 1 node
            Then I wait for all nodes to be synced to the chain in 5 seconds
        """
      Then the exit code is 1
      And it prints "waited 5s for all nodes to be synced to the public chain"
      And it prints "only 1 peers answer and can be believed, 2 have to"
      And it prints "PUBLIC_3 cannot be reached"

    Scenario: Two peers are of two networks, and no third one says which is right
      Given 2 nodes that somebody else runs
      And 1 node that somebody else runs
      And somebody else kills THEIRS_2
      When I run the harness on this feature:
        """
        Feature: Public
          Scenario: One is away and one lies
            Given the application is "devchain"
            And I have public cryptarchia endpoint peers:
              | public_cryptarchia_endpoint | username | password |
              | env(THEIRS_1_URL)           |          |          |
              | env(THEIRS_2_URL)           |          |          |
              | env(THEIRS_3_URL)           |          |          |
            And we join an external network
            And I have initial peers:
              | initial_peer       |
              | env(THEIRS_1_PEER) |
            And a cluster of 1 node
            Then I wait for all nodes to be synced to the chain in 5 seconds
        """
      Then the exit code is 1
      And it prints "the peers are split: 1 at "
      And it prints "with nothing in common"
      And it does not print "all nodes follow the chain"

    Scenario: The peers are split on two chains
      Given 4 nodes that somebody else runs
      And the nodes that somebody else runs are split in two
      When I run the harness on this feature:
        """
        Feature: Public
          Scenario: Two and two
            Given the application is "devchain"
            And I have public cryptarchia endpoint peers:
              | public_cryptarchia_endpoint | username | password |
              | env(THEIRS_1_URL)           |          |          |
              | env(THEIRS_2_URL)           |          |          |
              | env(THEIRS_3_URL)           |          |          |
              | env(THEIRS_4_URL)           |          |          |
            And we join an external network
            And I have initial peers:
              | initial_peer       |
              | env(THEIRS_1_PEER) |
            And node "NODE_1" has user config override "leads" as "false"
            And a cluster of 1 node
            And node "NODE_1" is at height 16 in 60 seconds
            Then I wait for all nodes to be synced to the chain in 5 seconds
        """
      Then the exit code is 1
      And it prints "the peers are split: 2 at "

    Scenario: The peers have no new blocks, and the node is not where they are
      Given 3 nodes that somebody else runs
      And the nodes that somebody else runs make no more blocks
      When I run the harness on this feature:
        """
        Feature: Public
          Scenario: They stall
            Given the application is "devchain"
            And I have public cryptarchia endpoint peers:
              | public_cryptarchia_endpoint | username | password |
              | env(THEIRS_1_URL)           |          |          |
              | env(THEIRS_2_URL)           |          |          |
              | env(THEIRS_3_URL)           |          |          |
            And public peers stall without a new block for 2 seconds
            And we join an external network
            And node "NODE_1" has user config override "leads" as "false"
            And a cluster of 1 node
            Then I wait for all nodes to be synced to the chain in 6 seconds
        """
      Then the exit code is 1
      And it prints "the peers stall at "

    Scenario: Two peers of three boast, and nobody can be believed
      Given 3 nodes that somebody else runs
      And somebody else has THEIRS_2 say that it is 1000000 blocks higher than it is
      And somebody else has THEIRS_3 say that it is 2000000 blocks higher than it is
      When I run the harness on this feature:
        """
        Feature: Public
          Scenario: Boasters
            Given the application is "devchain"
            And I have public cryptarchia endpoint peers:
              | public_cryptarchia_endpoint | username | password |
              | env(THEIRS_1_URL)           |          |          |
              | env(THEIRS_2_URL)           |          |          |
              | env(THEIRS_3_URL)           |          |          |
            And we join an external network
            And I have initial peers:
              | initial_peer       |
              | env(THEIRS_1_PEER) |
            And a cluster of 1 node
            Then I wait for all nodes to be synced to the chain in 5 seconds
        """
      Then the exit code is 1
      And it prints "PUBLIC_2 cannot be believed: "

    Scenario: A peer that is listed twice does not count twice
      Given 1 node that somebody else runs
      When I run the harness on this feature:
        """
        Feature: Public
          Scenario: One peer in two rows
            Given the application is "devchain"
            And I have public cryptarchia endpoint peers:
              | public_cryptarchia_endpoint | username | password |
              | env(THEIRS_1_URL)           |          |          |
              | env(THEIRS_1_URL)           |          |          |
        """
      Then the exit code is 1
      And it prints "is listed twice, and would count as two peers"

  Rule: A node that is not on their chain is told apart from one that is late

    Scenario: A node of another network fails at once
      Given 3 nodes that somebody else runs
      When I run the harness on this feature:
        """
        Feature: Public
          Scenario: A chain of its own
            Given the application is "devchain"
            And I have public cryptarchia endpoint peers:
              | public_cryptarchia_endpoint | username | password |
              | env(THEIRS_1_URL)           |          |          |
              | env(THEIRS_2_URL)           |          |          |
              | env(THEIRS_3_URL)           |          |          |
            And a cluster of 1 node
            Then I wait for all nodes to be synced to the chain
        """
      Then the exit code is 1
      And it prints "NODE_1 is on another network: its genesis block is"
      And the harness took less than 60 seconds

    Scenario: A node that never hears of the others is on a branch of its own
      Given 3 nodes that somebody else runs
      When I run the harness on this feature:
        """
        Feature: Public
          Scenario: Nobody told it
            Given the application is "devchain"
            And I have public cryptarchia endpoint peers:
              | public_cryptarchia_endpoint | username | password |
              | env(THEIRS_1_URL)           |          |          |
              | env(THEIRS_2_URL)           |          |          |
              | env(THEIRS_3_URL)           |          |          |
            And we join an external network
            And a cluster of 1 node
            And node "NODE_1" is at height 1 in 30 seconds
            Then I wait for all nodes to be synced to the chain in 4 seconds
        """
      Then the exit code is 1
      And it prints "a node is on a branch that leaves the chain of "

    Scenario: A node that stays behind a chain which grows is shown with what is left
      Given 3 nodes that somebody else runs
      When I run the harness on this feature:
        """
        Feature: Public
          Scenario: It gets nothing
            Given the application is "devchain"
            And I have public cryptarchia endpoint peers:
              | public_cryptarchia_endpoint | username | password |
              | env(THEIRS_1_URL)           |          |          |
              | env(THEIRS_2_URL)           |          |          |
              | env(THEIRS_3_URL)           |          |          |
            And we join an external network
            And node "NODE_1" has user config override "leads" as "false"
            And a cluster of 1 node
            Then I wait for all nodes to be synced to the chain in 5 seconds
        """
      Then the exit code is 1
      And it prints "not all nodes are at "
      And it prints "blocks behind"
