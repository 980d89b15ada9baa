Feature: A cluster that runs already is looked up, and what it lacks is said

  Rule: A listing is a file of endpoints

    Scenario: Nodes that a listing expects and does not have are named
      Given 2 nodes that somebody else runs
      And the harness finds the file "lab.yaml":
        """
        expected: [ALPHA, BETA, GAMMA]
        nodes:
        - { name: ALPHA, url: "env(THEIRS_1_URL)" }
        - { name: BETA, url: "env(THEIRS_2_URL)" }
        """
      And the harness finds the file "trellis.toml":
        """
        [clusters.lab]
        provider = "static"
        cluster = "lab.yaml"
        """
      When I run the harness on this feature:
        """
        Feature: Partial
          Scenario: Two of three
            Given the attached cluster "lab"
            And at least 2 nodes must be ready
            When the nodes are ready
            Then GAMMA is missing from the attached cluster
            And ALPHA is borrowed
        """
      Then the exit code is 0
      And it prints "lab.yaml lacks GAMMA (it is expected"
      And the harness left a file "missing.txt" that says "Two of three: GAMMA (it is expected"

    Scenario: A cluster that can never have enough nodes fails at once
      Given 2 nodes that somebody else runs
      And the harness finds the file "lab.yaml":
        """
        expected: [ALPHA, BETA, GAMMA]
        nodes:
        - { name: ALPHA, url: "env(THEIRS_1_URL)" }
        - { name: BETA, url: "env(THEIRS_2_URL)" }
        """
      And the harness finds the file "trellis.toml":
        """
        [clusters.lab]
        provider = "static"
        cluster = "lab.yaml"
        """
      When I run the harness on this feature:
        """
        Feature: Partial
          Scenario: All of three
            Given the attached cluster "lab"
            When the nodes are ready
        """
      Then the exit code is 1
      And it prints "GAMMA (it is expected"
      And the harness took less than 20 seconds

    Scenario: A listing without a node is no cluster
      Given the harness finds the file "lab.yaml":
        """
        nodes: []
        """
      And the harness finds the file "trellis.toml":
        """
        [clusters.lab]
        provider = "static"
        cluster = "lab.yaml"
        """
      When I run the harness on this feature:
        """
        Feature: Empty
          Scenario: None
            Given the attached cluster "lab"
            When the nodes are ready
        """
      Then the exit code is 1
      And it prints "lab.yaml"

    Scenario: A cluster that nobody knows is refused before anything is started
      When I run the harness on this feature:
        """
        Feature: Unknown
          Scenario: Which
            Given the attached cluster "labb"
            When the nodes are ready
        """
      Then the exit code is 2
      And it prints "labb"

  Rule: Credentials come from the environment, and are told to nobody else

    Scenario: A token opens the nodes, and nothing that is left has it
      Given 3 nodes that somebody else runs, which want a token
      When I run the harness on this feature:
        """
        Feature: Closed
          Scenario: With the token, and then red
            Given external nodes:
              | node  | url               | token             |
              | ALPHA | env(THEIRS_1_URL) | env(THEIRS_TOKEN) |
              | BETA  | env(THEIRS_2_URL) | env(THEIRS_TOKEN) |
              | GAMMA | env(THEIRS_3_URL) | env(THEIRS_TOKEN) |
            When the nodes are ready
            And I write 5 keys
            Then no acknowledged write is lost
            And ALPHA is owned
        """
      Then the exit code is 1
      And it prints "ALPHA is borrowed, not owned"
      And nothing that the harness left has the token in it
      And the nodes that somebody else runs never noticed

    Scenario: Without it, the refusal is what is shown
      Given 1 node that somebody else runs, which want a token
      When I run the harness on this feature:
        """
        Feature: Closed
          Scenario: Without the token
            Given external nodes:
              | node  | url               |
              | ALPHA | env(THEIRS_1_URL) |
            And nodes must be ready within 2 seconds
            When the nodes are ready
        """
      Then the exit code is 1
      And it prints "the node wants a bearer token"

    Scenario: A token in a feature is refused, and not repeated
      When I run the harness on this feature:
        """
        Feature: Closed
          Scenario: In the open
            Given external nodes:
              | node  | url                 | token     |
              | ALPHA | http://127.0.0.9:80 | s3cretive |
            When the nodes are ready
        """
      Then the exit code is 2
      And it prints "write env(NAME) instead"
      And it does not print "s3cretive"
      And nothing that the harness left says "s3cretive"
